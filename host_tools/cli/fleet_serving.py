"""What `edgewright fleet serve` does: the server, and what of its options touches devices."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from device_agent.ending import end_at_once_when_asked_again
from host_tools.cli.until_ended import until_ended
from host_tools.errors import InputError
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from host_tools.fleet.ddi.door import DdiSettings
    from host_tools.fleet.field.listener import Listener
    from host_tools.fleet.field.observations import Said
    from host_tools.fleet.outside import Enrolment, Field, Findings
    from host_tools.fleet.service import FleetService
    from host_tools.fleet.store.fleet_store import FleetStore
    from host_tools.review.remote_telemetry import RemoteTelemetry
    from host_tools.review.store.telemetry_store import TelemetryStore

_TELEMETRY_HINT: Final = (
    "Or http://HOST:PORT, where `edgewright ingest --page` or `edgewright review serve` answers."
)


def run_serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    end_at_once_when_asked_again("edgewright")
    from host_tools.fleet.serve.server import serving  # noqa: PLC0415 - the other commands need no web server
    from host_tools.fleet.service import FleetService  # noqa: PLC0415 - likewise

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr
    )
    logging.getLogger("alembic").setLevel(
        logging.WARNING
    )  # which database it found is told below, in our words
    certificate = None if options.tls_cert is None else Path(options.tls_cert)
    key = None if options.tls_key is None else Path(options.tls_key)
    with closing(open_store(options.database)) as store, _findings(options, store) as findings:
        service = FleetService(store, _field(options), findings=findings, enrolment=_enrolment(options))
        listener = None if options.broker is None else _listener(options, service)
        with (
            serving(
                service,
                host=options.host,
                port=options.port,
                certificate=certificate,
                key=key,
                ddi=_ddi(options),
            ) as address,
            _hearing(listener) as deaf,
        ):
            with store.reading() as book:
                has_tokens = book.tokens.standing(book.now_seconds)
            print(f"The fleet of {store.where}: {address}/api/v1\nCtrl-C ends it.", flush=True)
            if not has_tokens:
                print(
                    "edgewright: warning: there is no token yet: edgewright fleet token create --database … --role admin",
                    file=sys.stderr,
                )
            _wait(deaf)
    return 0


def _field(options: argparse.Namespace) -> Field:
    from host_tools.fleet.outside import NoField  # noqa: PLC0415 - tokens and audit need none

    if (options.repository is None) != (options.keys is None):
        raise InputError("--repository and --keys belong together, got one of them.")
    if options.repository is None:
        return NoField()
    from host_tools.fleet.field.publisher import Publisher  # noqa: PLC0415 - as above
    from host_tools.repository.keys import KeyRing  # noqa: PLC0415 - as above
    from host_tools.repository.repository import Repository  # noqa: PLC0415 - as above

    repository = Repository(Path(options.repository), KeyRing(Path(options.keys)))
    repository.signed.timestamp()  # a folder that is none is told now, not when the first rollout waits for it
    return Publisher(repository)


def _ddi(options: argparse.Namespace) -> DdiSettings | None:
    if not options.ddi:
        return None
    from host_tools.fleet.ddi.door import DdiSettings, checked_tenant  # noqa: PLC0415 - only where it is served

    if options.repository is None:
        raise InputError("--ddi: devices download from the repository: --repository and --keys are missing.")
    return DdiSettings(
        repository=Path(options.repository),
        tenant=checked_tenant(options.ddi_tenant),
        poll_seconds=options.ddi_poll,
    )


def _enrolment(options: argparse.Namespace) -> Enrolment | None:
    if options.authority is None:
        return None
    if options.authority_url is None:
        raise InputError("--authority-url is missing: where do devices find `edgewright ca serve`?")
    from host_tools.authority.folder import AuthorityFolder  # noqa: PLC0415 - needs packages of the host
    from host_tools.fleet.field.enrolment import Enrolment  # noqa: PLC0415 - likewise

    return Enrolment(AuthorityFolder(Path(options.authority)), url=options.authority_url)


@contextmanager
def _findings(options: argparse.Namespace, fleet: FleetStore) -> Iterator[Findings]:
    """Give what the gates find: in a telemetry store, or nothing without one."""
    if options.telemetry is None:
        from host_tools.fleet.outside import nothing_measured  # noqa: PLC0415 - as above

        yield nothing_measured
        return
    from host_tools.fleet.rollout.asked_beside import AskedBeside  # noqa: PLC0415 - as above
    from host_tools.fleet.rollout.telemetry import TelemetryFindings  # noqa: PLC0415 - the review's packages

    def members(group: str) -> frozenset[str]:
        with fleet.reading() as book:
            return frozenset(one.id for one in book.devices.placed_since(group, 0.0))

    telemetry = _telemetry(options)
    beside = AskedBeside(TelemetryFindings(telemetry, members, period_seconds=options.gates_every))
    try:
        yield beside
    finally:
        if beside.close():  # else it is asked still, and ends with the process
            telemetry.close()


def _telemetry(options: argparse.Namespace) -> RemoteTelemetry | TelemetryStore:
    """Open the store, or ask the process that has it open: a DuckDB file is one process's while it is written."""
    if not options.telemetry.startswith(("http://", "https://")):
        from host_tools.review.store import opening  # noqa: PLC0415 - the review's packages

        if options.telemetry_token_file is not None:
            raise InputError("--telemetry-token-file: belongs to a --telemetry that is an address.")
        try:
            return opening.open_store(options.telemetry, read_only=True)
        except InputError as error:
            raise InputError(f"--telemetry: {error.args[0]}", hint=_TELEMETRY_HINT) from error
    from host_tools.cli.fleet_server import token_in  # noqa: PLC0415 - likewise
    from host_tools.review.remote_telemetry import RemoteTelemetry  # noqa: PLC0415 - likewise

    file = options.telemetry_token_file
    token = None if file is None else token_in(file, option="--telemetry-token-file")
    return RemoteTelemetry(options.telemetry, token=token)


def _listener(options: argparse.Namespace, service: FleetService) -> Listener:
    from host_tools.cli.listening import tls_files  # noqa: PLC0415 - only where a broker is named
    from host_tools.fleet.field.hearing import Hearing  # noqa: PLC0415 - likewise
    from host_tools.fleet.field.listener import Listener, ListenerSettings  # noqa: PLC0415 - likewise
    from host_tools.review.broker_address import parse_broker  # noqa: PLC0415 - likewise

    hearing, known = Hearing(), service.devices_known

    def take(said: Sequence[Said]) -> None:
        service.hear(hearing.take(said))

    def between() -> None:
        nonlocal known
        if (now := service.devices_known) != known:
            # They may have spoken before the store knew them, and a device may say nothing for hours.
            service.hear(hearing.everything())
            known = now

    settings = ListenerSettings(
        broker=parse_broker(options.broker), tls=tls_files(options), name=options.name
    )
    return Listener(settings, take, between=between)


class _Deaf:
    """Whether devices are not heard any more, and why: a broker that refuses, another server with this name, a TLS file."""

    def __init__(self) -> None:
        self.happened = threading.Event()
        self.error: EdgewrightError | None = None


@contextmanager
def _hearing(listener: Listener | None) -> Iterator[_Deaf]:
    deaf = _Deaf()
    if listener is None:
        yield deaf
        return
    stop = threading.Event()

    def hear() -> None:
        try:
            listener.run(stop)
        except EdgewrightError as error:
            deaf.error = error
            deaf.happened.set()

    thread = threading.Thread(target=hear, name="fleet listener", daemon=True)
    thread.start()
    try:
        yield deaf
    finally:
        stop.set()
        thread.join(timeout=10.0)


def _wait(deaf: _Deaf) -> None:
    """Wait for Ctrl-C.

    Raises:
        EdgewrightError: It hears no device any more: it would decide on what it does not see.
    """
    with until_ended():
        deaf.happened.wait()
    if deaf.error is not None:
        raise deaf.error
