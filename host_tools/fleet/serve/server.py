"""uvicorn around the fleet's interface, and the service's rounds beside it."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn

from host_tools.errors import InputError
from host_tools.fleet.serve.application import application
from host_tools.review.serve.exposure import is_loopback, url_of
from host_tools.review.serve.listening import Server, listen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from host_tools.fleet.ddi.door import DdiSettings
    from host_tools.fleet.serve.limits import Limits
    from host_tools.fleet.service import FleetService

_END_SECONDS: Final = 10
_MOST_CONNECTIONS: Final = 1_000


@contextmanager
def serving(
    service: FleetService,
    *,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
    limits: Limits | None = None,
    ddi: DdiSettings | None = None,
) -> Iterator[str]:
    """Answer in a thread of its own, and make the service's rounds in another, until the context ends; give the address.

    Args:
        service: The fleet's.
        host: Address to listen at; another than this machine's own needs TLS: tokens go over it.
        port: 0 for any that is free.
        certificate: PEM, the server's certificate and those between it and its authority.
        key: Its private key.
        limits: What is allowed.
        ddi: As in `application`.

    Raises:
        InputError: The address cannot be listened at, a TLS file cannot be used, or TLS is missing.
    """
    _require_tls(host, certificate, key)
    stop = threading.Event()
    with listen(host, port, other="server running") as listening:
        config = uvicorn.Config(
            application(service, limits=limits, ddi=ddi),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_END_SECONDS // 2,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        server = Server(config)
        threads = (
            threading.Thread(target=server.run, args=([listening],), name="fleet interface", daemon=True),
            threading.Thread(target=service.run, args=(stop,), name="fleet rounds", daemon=True),
        )
        for thread in threads:
            thread.start()
        try:
            scheme = "http" if certificate is None else "https"
            yield url_of(scheme, host, listening.getsockname()[1])
        finally:
            server.should_exit = True
            stop.set()
            service.wake()
            for thread in threads:
                thread.join(timeout=_END_SECONDS)


def _require_tls(host: str, certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise InputError("--tls-cert and --tls-key belong together, got one of them.")
    if certificate is None or key is None:
        if not is_loopback(host):
            raise InputError(
                f"--host {host}: tokens would go over the network in the clear.",
                hint="Give --tls-cert and --tls-key (edgewright ca server makes them), or listen at 127.0.0.1.",
            )
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"{certificate}, {key}: cannot be used for TLS: {error.strerror or error}."
        ) from error
