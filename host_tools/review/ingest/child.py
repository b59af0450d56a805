"""Entry of the processes that `Supervisor` starts: ``python -m host_tools.review.ingest.child ROLE CHANNEL WRITER``.

ROLE is ``writer``, ``worker`` or ``retire``; CHANNEL the descriptor of the channel to the supervisor; WRITER the
descriptor of the socket where the writer listens, for a worker its path. Standard input stays open as long as the supervisor is
there: its end ends the process at once, in whatever it is, for a supervisor that is started next needs the store.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import StoreInUseError, missing_package
from host_tools.review.ingest.channel import Channel, Fatal, fatal, read_order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from host_tools.review.ingest.channel import Order
    from host_tools.review.ingest.settings import IngestSettings
    from host_tools.review.store.telemetry_store import TelemetryStore

INTERNAL = "internal"
"""Code of a `Fatal` that is a fault of ours; another attempt may help."""
_STANDARD_INPUT = 0
_PATIENCE_SECONDS = 5.0
_TURN_SECONDS = 0.1


def main(arguments: Sequence[str]) -> int:
    """Run one process to its end and return its exit status."""
    role, channel_descriptor, writer = arguments
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    channel = Channel(socket.socket(fileno=int(channel_descriptor)))
    order = read_order(channel)
    if order is None:
        return 0
    try:
        if role == "writer":
            return _write(order, channel, int(writer))
        return _work(order, channel, writer, retiring=role == "retire")
    except EdgewrightError as error:
        channel.send(fatal(error))
    except ModuleNotFoundError as error:  # the next one would not find it, either
        channel.send(fatal(missing_package(str(error.name))))
    except Exception as error:  # noqa: BLE001  the supervisor shows it in one line and starts another
        channel.send(Fatal(code=INTERNAL, message=f"{type(error).__name__}: {error}"))
    return 1


def _write(order: Order, channel: Channel, listener: int) -> int:
    from host_tools.review.ingest.writer import Writer  # noqa: PLC0415  a worker needs no database

    store = _opened(order.settings)
    with _page(order.settings, store):
        return Writer(
            order.settings, store=store, listener=socket.socket(fileno=listener), channel=channel
        ).run()


def _opened(settings: IngestSettings) -> TelemetryStore:
    """Open the store; a process that has just been killed may have it for a moment yet.

    Raises:
        StoreError: It cannot be opened.
    """
    from host_tools.review.store.opening import open_store  # noqa: PLC0415  a worker needs no database

    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return open_store(
                settings.store, memory_bytes=settings.store_memory_bytes, limits=settings.limits
            )
        except StoreInUseError:
            if time.monotonic() > end:
                raise
        time.sleep(_TURN_SECONDS)


def _end_with_the_supervisor() -> None:
    """Wait for the end of standard input; nothing is lost that way, for what is not committed is not acknowledged."""
    while os.read(_STANDARD_INPUT, 1):
        pass
    os._exit(1)


def _page(settings: IngestSettings, store: TelemetryStore) -> AbstractContextManager[object]:
    """Return what the page is served within, if it is to be: the only process that may read the store is this one."""
    if settings.page is None:
        return nullcontext()
    from host_tools.review.serve.server import serving  # noqa: PLC0415  an ingest without a page needs no web server

    page = settings.page
    return serving(store, host=page.host, port=page.port, token=page.token)


def _work(order: Order, channel: Channel, path: str, *, retiring: bool) -> int:
    from host_tools.review.ingest.worker import Worker, connect_to  # noqa: PLC0415  the writer needs no broker

    return Worker(
        order.settings,
        slot=order.slot,
        channel=channel,
        connect_writer=partial(connect_to, path),
        retiring=retiring,
    ).run()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # a backup that is being made is not waited for
