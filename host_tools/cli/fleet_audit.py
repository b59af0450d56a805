"""What `edgewright fleet audit` does where the database or an export is."""

from __future__ import annotations

import json
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError
from host_tools.fleet.store.audit_file import audit_lines, read_audit_lines
from host_tools.fleet.store.chain import first_break
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from host_tools.fleet.records.access import AuditEntry

_BROKEN: Final = 4
"""Exit status of an audit that is not whole."""


def audit_export(options: argparse.Namespace) -> int:
    """Write the audit as JSON lines."""
    with closing(open_store(options.database, must_exist=True)) as store, store.reading() as book:
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
        with closing(open_store(options.database, must_exist=True)) as store, store.reading() as book:
            yield book.audit.all()
        return
    try:
        with Path(options.file).open("rb") as stream:
            yield read_audit_lines(stream, where=options.file)
    except OSError as error:
        raise InputError(f"{options.file}: {error.strerror}.") from error
