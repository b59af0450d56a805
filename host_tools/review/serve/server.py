"""uvicorn around the page: in this thread until Ctrl-C, or in a thread beside whoever writes the store."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from host_tools.review.serve.application import Access, application
from host_tools.review.serve.exposure import is_loopback, page_url
from host_tools.review.serve.listening import Server, listen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.store.telemetry_store import TelemetryStore


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
    with listen(host, port, other="page open") as listening:
        access = Access(token=token) if is_loopback(host) else Access(token=token, hosts=None)
        config = uvicorn.Config(
            application(store, access=access),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
        )
        server = Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="page", daemon=True)
        thread.start()
        try:
            yield page_url(host, listening.getsockname()[1], token)
        finally:
            server.should_exit = True
            thread.join(timeout=10.0)
