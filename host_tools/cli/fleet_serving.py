"""What `edgewright fleet` does where the database is: serve, tokens, the audit."""

from __future__ import annotations

import json
import logging
import sys
import threading
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from host_tools.cli.fleet_asking import name_of
from host_tools.cli.printing import print_list
from host_tools.errors import InputError, OutputError
from host_tools.fleet.serve.asked import TokenAsked
from host_tools.fleet.serve.patterns import expected_by
from host_tools.fleet.serve.tokens import make_token
from host_tools.fleet.store.audit_file import audit_lines, read_audit_lines
from host_tools.fleet.store.chain import first_break
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from host_tools.fleet.ddi.door import DdiSettings
    from host_tools.fleet.field.listener import Listener
    from host_tools.fleet.field.observations import Said
    from host_tools.fleet.outside import Enrolment, Field, Findings
    from host_tools.fleet.records import ApiToken, AuditEntry
    from host_tools.fleet.service import FleetService
    from host_tools.fleet.store.fleet_store import FleetStore
    from host_tools.review.remote_telemetry import RemoteTelemetry
    from host_tools.review.store.telemetry_store import TelemetryStore

_BROKEN: Final = 4
"""Exit status of an audit that is not whole."""
_TELEMETRY_HINT: Final = (
    "Or http://HOST:PORT, where `edgewright ingest --page` or `edgewright review serve` answers."
)


def run_serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
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
    with _opened(options.database, must_exist=False) as store, _findings(options, store) as findings:
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


def token_create(options: argparse.Namespace) -> int:
    """Make a token; it alone goes to standard output."""
    from pydantic import ValidationError  # noqa: PLC0415 - beside the types that it checks

    try:
        asked = TokenAsked(name=options.name, role=options.role, lifetime_days=options.days)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"lifetime_days": "days"}.get(str(first["loc"][0]), first["loc"][0])
        expected = expected_by(first) or first["msg"].removeprefix("Input should be ")
        raise InputError(f"--{option}: expected {expected}, got {first['input']!a}.") from None
    with _opened(options.database, must_exist=False) as store:
        token, secret = make_token(store, asked, actor="command line")
    print(secret)
    print(
        f"token {token.id} of {token.name}, {token.role}, good until {_moment(token.expires_seconds)}",
        file=sys.stderr,
    )
    return 0


def token_list(options: argparse.Namespace) -> int:
    """Show tokens."""
    with _opened(options.database) as store, store.reading() as book:
        tokens, now = sorted(book.tokens.all(), key=lambda one: one.created_seconds), book.now_seconds
    if options.json:
        print(json.dumps([asdict(token) for token in tokens], indent=1))
        return 0
    rows = [(one.id, one.name, one.role, _moment(one.expires_seconds), _state_of(one, now)) for one in tokens]
    print_list(("id", "name", "role", "good until", "state"), rows)
    return 0


def _state_of(token: ApiToken, now_seconds: float) -> str:
    if token.revoked_seconds is not None:
        return "revoked"
    return "expired" if token.expires_seconds <= now_seconds else "good"


def token_revoke(options: argparse.Namespace) -> int:
    """End a token."""
    wanted = name_of(options.id)
    with _opened(options.database) as store, store.writing() as book:
        token = book.tokens.get(wanted)
        book.tokens.revoke(token.id, now_seconds=book.now_seconds)
        book.note(
            "command line", "token.revoke", f"token/{token.id}", {"name": token.name, "role": token.role}
        )
    print(f"token {token.id} of {token.name}: revoked")
    return 0


def audit_export(options: argparse.Namespace) -> int:
    """Write the audit as JSON lines."""
    with _opened(options.database) as store, store.reading() as book:
        for line in audit_lines(book.audit.all()):
            sys.stdout.write(line.decode())
    return 0


def audit_verify(options: argparse.Namespace) -> int:
    """See whether the audit is whole; exit status 0, or 4: it is not."""
    if (options.file is None) == (options.database is None):
        raise InputError("expected an exported file, or --database: one of them.")
    with _entries(options) as entries:
        seen = _Seen(entries, options.expect)
        broken = first_break(seen)
    if options.file is not None and not seen.count:
        raise InputError(f"{options.file}: expected entries, got none.", hint="Did the export fail?")
    if not broken and options.expect is not None and not seen.found:
        broken = f"no entry has the digest {options.expect}: entries were cut off, or it is of another fleet"
    if options.json:
        print(
            json.dumps(
                {"whole": not broken, "broken": broken, "entries": seen.count, "newest_digest": seen.newest}
            )
        )
    elif broken:
        print(f"The audit is NOT whole: {broken}.")
    else:
        print(
            f"The audit is whole: {seen.count} entries. Note the newest digest elsewhere: {seen.newest or 'none yet'}"
        )
    return _BROKEN if broken else 0


class _Seen:
    """Entries on their way, counted."""

    def __init__(self, entries: Iterable[AuditEntry], expected: str | None) -> None:
        self._entries = entries
        self._expected = expected
        self.count, self.newest, self.found = 0, "", False

    def __iter__(self) -> Iterator[AuditEntry]:
        for entry in self._entries:
            self.count, self.newest = entry.number, entry.digest
            self.found = self.found or entry.digest == self._expected
            yield entry


@contextmanager
def _entries(options: argparse.Namespace) -> Iterator[Iterable[AuditEntry]]:
    if options.database is not None:
        with _opened(options.database) as store, store.reading() as book:
            yield book.audit.all()
        return
    try:
        with Path(options.file).open("rb") as stream:
            yield read_audit_lines(stream, where=options.file)
    except OSError as error:
        raise InputError(f"{options.file}: {error.strerror}.") from error


@contextmanager
def _opened(address: str, *, must_exist: bool = True) -> Iterator[FleetStore]:
    store = open_store(address, must_exist=must_exist)
    try:
        yield store
    finally:
        store.close()


# --- what touches devices ---


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
    """Wait for Ctrl-C, which is the ordinary way to end a server.

    Raises:
        EdgewrightError: It hears no device any more: it would decide on what it does not see.
    """
    try:
        deaf.happened.wait()
    except KeyboardInterrupt:
        print("Ended.", file=sys.stderr)
    if deaf.error is not None:
        raise deaf.error


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError) as error:
        raise OutputError(f"{seconds!r}: no time of the calendar.") from error
