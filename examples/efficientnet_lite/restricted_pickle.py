"""Read a pickle as data: tensors in dictionaries, by name, and nothing else.

A pickle is a program for a small stack machine, and `pickle.load` runs it, `os.system` included. Here it
passes two gates:

1. `_scan` walks the opcodes without executing any. Only those that `torch.save` needs for a state dictionary
   are allowed, every global must be on the list below, and memo numbers are bounded (a memo number makes the
   interpreter allocate a table).
2. `_Unpickler` then runs it with stand-ins: no name resolves to a real class or function, and no stand-in can
   be altered (none has a ``__dict__``; the dictionary drops the state that is offered to it).

What it is not: a general safe unpickler (whatever is not needed for tensors is refused, harmless or not), or
a bound on time: a hostile file can still keep the processor busy.

Source: CPython ``Lib/pickletools.py`` for the opcodes; PyTorch ``torch/_utils.py`` (``_rebuild_tensor_v2``)
and ``torch/serialization.py`` (``persistent_id``) for the names and the tuples.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import reprlib
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from examples.efficientnet_lite.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PICKLE_BYTES: Final = 4 << 20
"""Longest pickle that is scanned, in bytes; a state dictionary needs about 150 bytes a tensor."""

_OPCODES: Final = frozenset({
    "PROTO", "STOP", "MARK", "REDUCE", "BUILD", "GLOBAL", "BINPERSID",
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
})  # fmt: skip


class StorageType(NamedTuple):
    """Stand-in for ``torch.FloatStorage`` and its like: the NumPy type of the elements, little-endian."""

    dtype: str


class StorageReference(NamedTuple):
    """Where a tensor's elements lie: storage ``key``, of so many ``elements`` of NumPy type ``dtype``."""

    dtype: str
    key: str
    elements: int


class TensorRecord(NamedTuple):
    """Arguments of ``_rebuild_tensor_v2`` as found, unchecked; offset, shape and strides count elements."""

    storage: object
    offset: object
    shape: object
    strides: object


class StateDictionary(dict[object, object]):
    """Stand-in for ``collections.OrderedDict``; ignores the state (``_metadata``) that PyTorch attaches."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Drop ``state``: module versions, of no use without PyTorch."""


class _MakeStateDictionary:
    __slots__ = ()

    def __call__(self) -> StateDictionary:
        return StateDictionary()


class _RebuildTensor:
    __slots__ = ()

    def __call__(
        self, storage: object, offset: object, shape: object, strides: object, *_: object
    ) -> TensorRecord:
        return TensorRecord(storage=storage, offset=offset, shape=shape, strides=strides)


_GLOBALS: Final[Mapping[str, object]] = {
    "collections OrderedDict": _MakeStateDictionary(),
    "torch._utils _rebuild_tensor_v2": _RebuildTensor(),
    "torch DoubleStorage": StorageType("<f8"),
    "torch FloatStorage": StorageType("<f4"),
    "torch HalfStorage": StorageType("<f2"),
    "torch LongStorage": StorageType("<i8"),
    "torch IntStorage": StorageType("<i4"),
    "torch ShortStorage": StorageType("<i2"),
    "torch CharStorage": StorageType("|i1"),
    "torch ByteStorage": StorageType("|u1"),
    "torch BoolStorage": StorageType("|b1"),
}


class PickleReader:
    """Reads the pickles of one checkpoint and remembers the storages that they refer to.

    Attributes:
        source: What messages call the file.
        references: Every storage named so far, by key.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.references: dict[str, StorageReference] = {}

    def read(self, data: bytes, start: int) -> tuple[object, int]:
        """Return the object of the pickle at byte ``start`` of ``data``, and the position behind it.

        Raises:
            CheckpointError: The pickle is cut short, too long, not well formed, or asks for more than
                tensors.
        """
        end = start + _scan(data[start : start + MAX_PICKLE_BYTES], self.source, start)
        try:
            return _Unpickler(data[start:end], self).load(), end
        except CheckpointError:
            raise
        # A malformed program surfaces as whatever the C code met first: KeyError, TypeError, IndexError, ...
        except Exception as error:
            raise CheckpointError(
                f"{self.source}: the pickle at byte {start} is malformed ({type(error).__name__}: {error}).",
                hint="Fetch the file again.",
            ) from error

    def refer(self, identifier: object) -> StorageReference:
        """Return the storage that a persistent id names.

        Args:
            identifier: ``("storage", type, key, location, count)``, or the same with a sixth ``None`` (files
                before 2018).

        Raises:
            CheckpointError: It is anything else, or contradicts an earlier one of the same key.
        """
        match identifier:
            case ("storage", StorageType(dtype), str(key), str(), int(count), *rest) if rest in ([], [None]):
                reference = StorageReference(dtype, key, count)
            case _:
                raise CheckpointError(
                    f"{self.source}: persistent id {reprlib.repr(identifier)} is not a tensor storage; "
                    "expected ('storage', type, key, location, element count)."
                )
        if self.references.setdefault(key, reference) != reference:
            raise CheckpointError(
                f"{self.source}: storage {key!r} is described twice: {self.references[key]} and {reference}."
            )
        return reference


class _Unpickler(pickle.Unpickler):
    """Runs a scanned pickle with stand-ins only."""

    def __init__(self, program: bytes, reader: PickleReader) -> None:
        super().__init__(io.BytesIO(program))
        self._reader = reader

    def find_class(self, module_name: str, global_name: str, /) -> object:
        """Return the stand-in; refuse any other name, as `_scan` did."""
        # Not idle: pickletools resolves backslash escapes in names, and the interpreter does not.
        name = f"{module_name} {global_name}"
        if name not in _GLOBALS:
            _refuse_global(name, self._reader.source)
        return _GLOBALS[name]

    def persistent_load(self, pid: object) -> StorageReference:
        """Return the storage that ``pid`` names."""
        return self._reader.refer(pid)


def _scan(data: bytes, source: str, start: int) -> int:
    """Return the length of the pickle at the front of ``data`` after checking every opcode; executes none.

    Raises:
        CheckpointError: An opcode or a global is not allowed, or the pickle does not end within ``data``.
    """
    try:
        for opcode, argument, position in pickletools.genops(data):
            where = f"{source}: byte {start + (position or 0)}"
            if opcode.name not in _OPCODES:
                raise CheckpointError(
                    f"{where}: pickle opcode {opcode.name} is refused; a state dictionary does not need it."
                )
            if opcode.name == "GLOBAL" and argument not in _GLOBALS:
                _refuse_global(str(argument), where)
            if opcode.name == "LONG_BINPUT" and int(argument or 0) > len(data):
                raise CheckpointError(f"{where}: memo number {argument} is larger than the pickle itself.")
            if opcode.name == "STOP":
                return (position or 0) + 1
    except CheckpointError:
        raise
    # pickletools reports damage by ValueError, struct.error, and a Warning where warnings are errors.
    except Exception as error:
        raise CheckpointError(
            f"{source}: the pickle at byte {start} is cut short, longer than {MAX_PICKLE_BYTES} bytes, "
            f"or not a pickle ({error}).",
            hint="Fetch the file again.",
        ) from error
    raise CheckpointError(f"{source}: the pickle at byte {start} has no end.", hint="Fetch the file again.")


def _refuse_global(name: str, where: str) -> NoReturn:
    dotted = name.replace(" ", ".")
    if name.startswith("torch ") and name.endswith("Storage"):
        allowed = ", ".join(sorted(known.split()[1] for known in _GLOBALS if known.endswith("Storage")))
        raise CheckpointError(f"{where}: element type {dotted} is not read here; expected one of {allowed}.")
    known = ", ".join(sorted(key.replace(" ", ".") for key in _GLOBALS))
    raise CheckpointError(
        f"{where}: global {dotted} is refused; allowed are {known}.",
        hint="A pickle that needs other names can run code when it is loaded; do not open it with pickle.",
    )
