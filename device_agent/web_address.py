"""The grammar of the addresses that downloads take; the configuration asks it before the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib.parse import SplitResult


def split_web_address(url: str) -> SplitResult:
    """Take an address apart.

    Raises:
        ValueError: It is not ``http://`` or ``https://`` with a host, or its port is none; or it has blanks, what cannot be
            printed, or a user: nobody would send that, and a password in an address is told with it.
    """
    parts = urlsplit(url)
    if (
        any(character.isspace() or not character.isprintable() for character in url)
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.port == 0
        or "@" in parts.netloc
    ):
        raise ValueError("expected http:// or https:// and a host, without a user")
    return parts
