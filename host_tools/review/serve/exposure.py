"""Who reaches an address, and what whoever opens the page to others must know."""

from __future__ import annotations

import secrets
from urllib.parse import quote

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    return host in LOOPBACK


def url_of(scheme: str, host: str, port: int) -> str:
    """Return the address of what listens at ``host``, without a path."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def page_url(host: str, port: int, token: str | None) -> str:
    """Return the page's address; with it goes what a reader must show."""
    return f"{url_of('http', host, port)}/" + ("" if token is None else f"?token={quote(token, safe='')}")


def exposure_warning(host: str, token: str | None) -> str:
    """Return what whoever opens the page to others must know."""
    if token is None:
        return (
            f"whoever reaches {host} may read everything in this store; nobody is asked who they are. "
            f"Ask for a token, such as {secrets.token_urlsafe(16)}"
        )
    return f"{host}: the token goes over the network in the clear; put TLS before it where others listen."
