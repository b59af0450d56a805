"""The device list as CSV: ``id,group,tags`` to bring in, more columns to take out. A wrong line is named, and then nothing is taken."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.digest import digest_of
from host_tools.errors import ConflictError, InputError, NotFoundError
from host_tools.fleet.inventory import edit_device
from host_tools.fleet.records.devices import Device
from host_tools.fleet.serve.answers.devices import Imported
from host_tools.fleet.serve.context import require_room
from host_tools.fleet.store.devices import DeviceFilter
from host_tools.spreadsheet_text import as_spreadsheet_text, from_spreadsheet_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from device_agent.contract.telemetry.message import Scalar
    from host_tools.fleet.serve.context import Fleet
    from host_tools.fleet.store.fleet_store import FleetBook, FleetStore

COLUMNS: Final = (
    "id",
    "group",
    "tags",
    "state",
    "targets",
    "engine",
    "agent_version",
    "artifact",
    "desired_serial",
    "health",
    "last_seen_seconds",
    "added_seconds",
    "follows",
    "configured",
)
_NEEDED: Final = ("id", "group")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TAG: Final = re.compile(r"[A-Za-z0-9_.:=/-]{1,64}")
_MOST_TAGS: Final = 32
_MOST_TOLD: Final = 20
_HINT: Final = f"The first line is {','.join(COLUMNS[:3])}."
_BATCH: Final = 1_000


class DeviceTableError(InputError):
    """A device list is wrong; the message names lines and columns."""

    code = "device_table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: a device, the group that it shall be in, and its tags; None: the list says nothing of tags."""

    line: int
    device: str
    group: str
    tags: frozenset[str] | None


def read_table(data: bytes) -> tuple[Row, ...]:
    """Read a device list.

    Args:
        data: CSV with a header, UTF-8, columns of `COLUMNS`; those other than ``id``, ``group`` and ``tags`` (separated by spaces) are
            passed over, so that a list that was taken out can be brought in. Another one is refused: it may be ``tags``, misspelt.

    Raises:
        DeviceTableError: It is none; every wrong line is named, up to 20.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DeviceTableError(f"line {line}: expected UTF-8, got byte 0x{data[error.start]:02x}.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[tuple[int, list[str]]] = []
    first = 1
    try:
        for cells in reader:
            records.append((first, cells))
            first = reader.line_num + 1  # a quoted cell may go over several lines
    except csv.Error as error:
        raise DeviceTableError(f"line {reader.line_num}: not CSV: {error}.", hint=_HINT) from error
    header = [name.strip() for name in records[0][1]] if records else []
    _check_header(header)
    problems: list[str] = []
    rows = list(_rows(header, records[1:], problems))
    if problems:
        raise DeviceTableError(_several(problems), hint="Nothing was taken: mend the list and send it again.")
    return tuple(rows)


def _check_header(header: Sequence[str]) -> None:
    header = [name for name in header if name]  # spreadsheets write empty columns at the end
    for name in header:
        if name not in COLUMNS:
            raise DeviceTableError(
                f"line 1: expected columns of {', '.join(COLUMNS)}, got {name[:80]!a}.", hint=_HINT
            )
    for name in dict.fromkeys((*_NEEDED, *header)):
        if header.count(name) != 1:
            raise DeviceTableError(
                f"line 1: expected a column {name!r}, once, got {header.count(name)} of them.", hint=_HINT
            )


def import_table(fleet: Fleet, data: bytes, *, actor: str) -> Imported:
    """Take a device list: devices that are not known are added, the others moved and tagged as it says; none is removed.

    Raises:
        DeviceTableError: The list is wrong; nothing of it was taken.
        ConflictError: A device of it is revoked or decommissioned.
        QuotaError: There would be more devices than this server keeps.
    """
    rows = read_table(data)
    added: list[Device] = []
    changed = 0
    with fleet.store.writing() as book:
        _require_homes(book, rows)
        for row in rows:
            known = book.devices.find(row.device)
            if known is None:
                added.append(
                    Device(
                        id=row.device,
                        group=row.group,
                        tags=row.tags or frozenset(),
                        added_seconds=book.now_seconds,
                    )
                )
            # A list that was taken out comes in again, with devices that are out.
            elif not _says_what_is(row, known):
                edit_device(book, known, group=row.group, tags=row.tags, actor=actor)
                changed += 1
        count = book.devices.count(DeviceFilter())
        require_room(count + len(added) - 1, fleet.limits.devices, "devices")
        book.devices.add(added)
        # One entry for all that it added, whose digest says which list it was.
        details: dict[str, Scalar] = {"added": len(added), "changed": changed, "list": digest_of(data)}
        book.note(actor, "device.import", "devices", details)
        book.changes.tell(book.now_seconds, "devices", "devices", {"changed": len(added) + changed})
    return Imported(added=len(added), changed=changed, same=len(rows) - len(added) - changed)


def _says_what_is(row: Row, known: Device) -> bool:
    return known.home == row.group and row.tags in (None, known.tags)


def _require_homes(book: FleetBook, rows: Sequence[Row]) -> None:
    """Refuse lines that put a device where people cannot put one; of several lines with one such group the first is named."""
    first = {row.group: row for row in reversed(rows)}
    problems: list[str] = []
    hint = ""
    for row in sorted(first.values(), key=lambda row: row.line):
        try:
            book.groups.get_home(row.group)
        except (NotFoundError, ConflictError) as error:
            problems.append(f"line {row.line}: {error.args[0]}")
            hint = hint or error.hint or "Make it first: edgewright fleet groups add."
    if problems:
        raise DeviceTableError(_several(problems), hint=hint)


def _several(problems: Sequence[str]) -> str:
    more = f" And {len(problems) - _MOST_TOLD} more." if len(problems) > _MOST_TOLD else ""
    return " ".join(problems[:_MOST_TOLD]) + more


def written_table(store: FleetStore) -> bytes:
    """Return the device list as CSV. A spreadsheet takes no cell of it for a formula."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    with store.reading() as book:
        after = ""
        while devices := book.devices.page(DeviceFilter(), after=after, limit=_BATCH):
            writer.writerows(_cells(device) for device in devices)
            after = devices[-1].id
    return stream.getvalue().encode()


def _rows(
    header: Sequence[str], records: Sequence[tuple[int, Sequence[str]]], problems: list[str]
) -> Iterator[Row]:
    seen: dict[str, int] = {}
    for number, cells in records:
        if not cells:
            continue
        if len(cells) != len(header):
            problems.append(f"line {number}: expected {len(header)} cells, got {len(cells)}.")
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        # As `_cells` writes it: what was taken out can be brought in again.
        tags = frozenset(from_spreadsheet_text(row["tags"]).split()) if "tags" in row else None
        problems += [f"line {number}: {problem}" for problem in _problems(row, tags)]
        if row["id"] in seen:
            problems.append(f"line {number}: id: the device is in line {seen[row['id']]} already.")
        seen.setdefault(row["id"], number)
        yield Row(line=number, device=row["id"], group=row["group"], tags=tags)


def _problems(row: dict[str, str], tags: frozenset[str] | None) -> Iterator[str]:
    for name in _NEEDED:
        if not _NAME.fullmatch(row[name]):
            yield f"{name}: expected 1 to 64 letters, digits, _ and -, got {row[name][:80]!a}."
    wrong = sorted(tag for tag in tags or () if not _TAG.fullmatch(tag))
    if wrong:
        yield f"tags: expected words of letters, digits and _.:=/-, got {wrong[0][:80]!a}."
    if tags is not None and len(tags) > _MOST_TAGS:
        yield f"tags: expected at most {_MOST_TAGS}, got {len(tags)}."


def _cells(device: Device) -> list[str]:
    provides = device.provides
    cells = [
        device.id,
        device.home,
        " ".join(sorted(device.tags)),
        device.state,
        " ".join(provides.targets),
        provides.engine,
        provides.agent_version,
        device.artifact or "",
        "" if device.desired_serial is None else str(device.desired_serial),
        device.health,
        "" if device.last_seen_seconds is None else f"{device.last_seen_seconds:.3f}",
        f"{device.added_seconds:.3f}",
        device.group,
        device.configured,
    ]
    # Ids and groups are letters, digits, _ and - alone, and stay as they are: programs read them back.
    return cells[:2] + [as_spreadsheet_text(cell) for cell in cells[2:]]
