"""Entry of the processes that `Supervisor` starts: ``python -m host_tools.review.ingest.child ROLE CHANNEL WRITER``.

ROLE is ``writer``, ``worker`` or ``retire``; CHANNEL the descriptor of the channel to the supervisor; WRITER the
descriptor of the socket where the writer listens, for a worker its path.
"""

from __future__ import annotations

import socket
import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import missing_package
from host_tools.review.ingest.channel import Channel, Fatal, fatal, read_order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from host_tools.review.ingest.channel import Order
    from host_tools.review.ingest.settings import IngestSettings
    from host_tools.review.store.telemetry_store import TelemetryStore

INTERNAL = "internal"
"""Code of a `Fatal` that is a fault of ours; another attempt may help."""


def main(arguments: Sequence[str]) -> int:
    """Run one process to its end and return its exit status."""
    role, channel_descriptor, writer = arguments
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
    from host_tools.review.store.opening import open_store  # noqa: PLC0415  as above

    store = open_store(order.settings.store, memory_bytes=order.settings.store_memory_bytes)
    with _page(order.settings, store):
        return Writer(
            order.settings, store=store, listener=socket.socket(fileno=listener), channel=channel
        ).run()


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
    sys.exit(main(sys.argv[1:]))
