"""Deliveries as JSON lines, ``{"received": …, "topic": …, "payload": …}``, so that what was seen once can be reported again."""

from __future__ import annotations

import base64
import binascii
import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from device_agent.contract.telemetry.codec import MAX_MESSAGE_BYTES
from host_tools.errors import InputError, OutputError
from host_tools.review.listener import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LINE_MAX_CHARACTERS = 8 << 20
"""A message of `MAX_MESSAGE_BYTES`, every byte of it written as ``\\u0000``, and the rest of the line."""
_TIME_MAX = 253402300799.0
"""The last second of the year 9999, as in the messages themselves."""
_LINE_START = '{"received": '
_HINT = "Make recordings with `edgewright watch --record FILE`."


class Recording:
    """A recording that grows; made by `open_recording`."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path = path
        self._stream = stream
        self.left_out = 0
        """Messages longer than any telemetry, such as frames: not recorded."""

    def write(self, delivery: Delivery) -> None:
        """Append one delivery.

        Raises:
            OutputError: The disk is full or failing.
        """
        if len(delivery.payload) > MAX_MESSAGE_BYTES:
            self.left_out += 1
            return
        try:
            write_delivery(self._stream, delivery)
        except OSError as error:
            raise _output_error(self._path, error) from error

    def flush(self) -> None:
        """Hand everything to the system, so that a kill loses nothing.

        Raises:
            OutputError: The disk is full or failing.
        """
        try:
            self._stream.flush()
        except OSError as error:
            raise _output_error(self._path, error) from error


@contextmanager
def open_recording(path: Path) -> Iterator[Recording]:
    """Open a recording to append to; one whose last line was cut goes on with a new line.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        cut = path.is_file() and not _ends_with_newline(path)
        stream = path.open("a", encoding="utf-8")
    except OSError as error:
        raise _output_error(path, error) from error
    recording = Recording(path, stream)
    try:
        if cut:
            stream.write("\n")
        yield recording
        recording.flush()
    finally:
        with suppress(OSError):  # on a full disk once more: it was told when it first happened
            stream.close()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        if not stream.seek(0, 2):
            return True
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def _output_error(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: {error.strerror or error}.", hint="Choose another --record FILE.")


def write_delivery(stream: TextIO, delivery: Delivery) -> None:
    """Append one delivery; a payload that is not UTF-8 goes as base64 under ``payload_base64``."""
    line: dict[str, object] = {"received": delivery.received, "topic": delivery.topic}
    if delivery.retained:
        line["retained"] = True
    try:
        line["payload"] = delivery.payload.decode()
    except UnicodeDecodeError:
        line["payload_base64"] = base64.b64encode(delivery.payload).decode()
    # ASCII: a recording can be looked at in a terminal, whatever control characters somebody sent.
    stream.write(json.dumps(line) + "\n")


def read_recording(path: Path, *, warn: Callable[[str], None]) -> Iterator[Delivery]:
    """Yield every delivery of a recording; a line that was cut, by a kill or a full disk, is left out.

    Args:
        path: The file.
        warn: Takes a sentence for each line that was left out.

    Raises:
        InputError: The file cannot be read, or a line is not a delivery; the message names the line.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as stream:
            number = 0
            while line := stream.readline(_LINE_MAX_CHARACTERS):
                number += 1
                if _is_cut(line):
                    warn(f"{path}:{number}: the line was cut while it was written, and is left out.")
                elif line.strip():
                    yield _parse(line, where=f"{path}:{number}")
    except OSError as error:
        raise InputError(f"{path}: cannot read the recording: {error}.") from error


def _is_cut(line: str) -> bool:
    """Say whether a line is the beginning of a recorded one: the last of a file, or the last before it went on."""
    start = line.rstrip("\n")
    if not start or not (start.startswith(_LINE_START) or _LINE_START.startswith(start)):
        return False
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        return True
    return False


def _parse(line: str, *, where: str) -> Delivery:
    try:
        fields = json.loads(line)
        encoded = fields.get("payload_base64")
        payload = fields["payload"].encode() if encoded is None else base64.b64decode(encoded, validate=True)
        topic, received, retained = fields["topic"], fields["received"], fields.get("retained", False)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise InputError(
            f"{where}: not a recorded message ({type(error).__name__}: {error}).", hint=_HINT
        ) from error
    if not isinstance(topic, str) or not _is_time(received):
        raise InputError(
            f"{where}: expected a topic (text) and a time (number), got {topic!r} and {received!r}.",
            hint=_HINT,
        )
    return Delivery(topic=topic, payload=payload, received=float(received), retained=retained is True)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= _TIME_MAX
