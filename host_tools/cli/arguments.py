"""Numbers on the command line, each with its range. No imports of ours: `--help` is to be instant."""

from __future__ import annotations

import argparse
import math
from datetime import datetime, timezone

from targets.profile import GROUPED, LARGEST_GROUP, PLAN_PRECISIONS

_MOST_MINUTES = 60 * 24 * 30


def count(text: str) -> int:
    """Read a whole number from 1 to 999,999,999; `argparse` tells the user of anything else."""
    if text.isdecimal() and len(text) > 9:
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least 1, at most 999999999, got {text[:200]!r}"
        )
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def seed(text: str) -> int:
    """Read what a draw begins with; below 0 the same would be drawn as above it."""
    value = int(text) if text.isdecimal() and len(text) < 20 else -1
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**63 - 1}, got {text!r}")
    return value


def port(text: str) -> int:
    """Read a port; 0 is any that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {text!r}")
    return int(text)


def number(text: str) -> float:
    """Read a finite number: nothing is below NaN, so as a limit it would let everything pass."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text!r}")
    return value


def at_least_zero(text: str) -> float:
    """Read a finite number of at least 0."""
    value = number(text)
    if value < 0.0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def minutes(text: str) -> float:
    """Read a time above 0."""
    value = number(text)
    if not 0.0 < value <= _MOST_MINUTES:
        raise argparse.ArgumentTypeError(
            f"expected a number of minutes above 0 and at most {_MOST_MINUTES}, got {text!r}"
        )
    return value


def precision(text: str) -> tuple[str, int | None]:
    """Read ``weights-int4:32``: a precision, and the size of its groups where one is given; ``channel`` is 0, a scale each channel."""
    name, colon, size = text.partition(":")
    if name not in PLAN_PRECISIONS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(PLAN_PRECISIONS)}, got {text!r}")
    if not colon:
        return name, None
    if name not in GROUPED:
        raise argparse.ArgumentTypeError(f"{name} has no groups, got {text!r}")
    return name, 0 if size in ("0", "channel") else _group(size)


def _group(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(LARGEST_GROUP)) or not 1 <= int(text) <= LARGEST_GROUP:
        raise argparse.ArgumentTypeError(
            f"expected channel, or a whole number of weights up to {LARGEST_GROUP}, behind the colon, got {text[:200]!r}"
        )
    return int(text)


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    value = number(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text!r}")
    return value


def above_zero(text: str) -> float:
    """Read a finite number above 0 and at most 100,000."""
    value = number(text)
    if not 0.0 < value <= 100_000.0:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 100000, got {text!r}")
    return value


def is_token(text: str) -> bool:
    """Say whether a text can be a token: one word of visible ASCII characters."""
    return text.isascii() and text.isprintable() and text != "" and " " not in text


def token(text: str) -> str:
    """Read what readers of a page must show: an empty one, as of a variable that is not set, would let in everybody."""
    if not is_token(text):
        raise argparse.ArgumentTypeError("expected a token of visible ASCII characters, at least one")
    return text


def moment(text: str) -> float:
    """Read a time as Unix seconds: ISO 8601, in UTC where it says no zone, or Unix seconds themselves."""
    try:
        return number(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        told = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-11-27T06:00, got {text!r}") from None
    return (told if told.tzinfo else told.replace(tzinfo=timezone.utc)).timestamp()


def add_tensorflow(parser: argparse.ArgumentParser) -> None:
    """Add how models of TensorFlow and Keras are read."""
    parser.add_argument(
        "--signature",
        metavar="NAME",
        help="which signature of a SavedModel (default: its only one, or serving_default)",
    )
    parser.add_argument(
        "--tensorflow-python",
        metavar="PYTHON",
        help="the Python that has TensorFlow, for models of Keras and TensorFlow (default: $EDGEWRIGHT_TENSORFLOW_PYTHON, else this one)",
    )


def examples_of(epilog: str, action: str) -> str:
    """Return those examples of a command's epilog that are of one of its actions: the third word of a line."""
    lines = [line for line in epilog.splitlines() if line.startswith("  ") and line.split()[2:3] == [action]]
    return "\n".join(["examples:", *lines])
