"""uvicorn around the page: in this thread until Ctrl-C, or in a thread beside whoever writes the store."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from host_tools.errors import InputError
from host_tools.review.serve.application import Access, application
from host_tools.review.serve.exposure import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.store.telemetry_store import TelemetryStore


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def serving(
    store: TelemetryStore, *, host: str = "127.0.0.1", port: int = 0, token: str | None = None
) -> Iterator[str]:
    """Answer in a thread of its own until the context ends; give the address of the page.

    The store may be written meanwhile: DuckDB lets one process write, so the page of a store that is being written is
    served by the process that writes it.

    Args:
        store: Read from several threads at a time.
        host: Address to listen at; whoever reaches another than this machine's own may read everything.
        port: 0 for any that is free.
        token: What a reader must show; None for none.

    Raises:
        InputError: The address cannot be listened at.
    """
    listening = _listen(host, port)
    with listening:
        bound = listening.getsockname()[1]
        access = Access(token=token) if is_loopback(host) else Access(token=token, hosts=None)
        config = uvicorn.Config(
            application(store, access=access),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
        )
        server = _Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="page", daemon=True)
        thread.start()
        try:
            yield _address(host, bound, token)
        finally:
            server.should_exit = True
            thread.join(timeout=10.0)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
    except OSError as error:
        raise InputError(f"--host {host}: {error.strerror or error}.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(
            f"{host}:{port}: cannot listen there: {error.strerror or error}.",
            hint="Is another page open? Choose another port.",
        ) from error
    return listening


def _address(host: str, port: int, token: str | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")
