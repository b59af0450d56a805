"""The catalogue of targets: `ids`, `load` and `parse`.

A profile may say ``based_on = "other-id"``: the facts of that catalogue profile are copied in full and the
file's own facts win.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from targets import document
from targets.assemble import assemble
from targets.errors import ProfileError, UnknownTargetError, did_you_mean

if TYPE_CHECKING:
    from targets.profile import CapabilityProfile

MAX_FILE_BYTES = 1 << 20
"""A profile is some ten kilobytes; more than 1 MiB is some other file."""

_PROFILES = resources.files("targets").joinpath("profiles")
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def ids() -> tuple[str, ...]:
    """Return the ids of the catalogue, sorted."""
    names = (entry.name for entry in _PROFILES.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load(id_or_path: str | Path) -> CapabilityProfile:
    """Load a profile of the catalogue by id, or a user's own by the path of its ``.toml``.

    Raises:
        UnknownTargetError: Not an id of the catalogue and not the name of a ``.toml`` file.
        ProfileError: The file cannot be read or is wrong, or a user's file claims an id of the catalogue.
    """
    name = str(id_or_path)
    known = ids()
    if name in known:
        return parse(_catalogue_text(name), origin=f"{name}.toml")
    if not name.endswith(".toml"):
        raise UnknownTargetError(name, known)
    profile = parse(_file_text(Path(name)), origin=name)
    if profile.id in known and load(profile.id).digest != profile.digest:
        raise ProfileError(
            f"{name}: id: {profile.id!r} is a profile of the catalogue with other facts",
            hint="Give yours an id of its own.",
        )
    return profile


def parse(text: str, *, origin: str) -> CapabilityProfile:
    """Read a profile from TOML text.

    Args:
        text: The file's text.
        origin: The file's name for messages.

    Raises:
        ProfileError: The text is not a valid profile; the message names file and key.
    """
    parsed = document.read(text, origin=origin)
    entries, digest = _resolved(parsed, text, seen=())
    identity = _plain(parsed, "id", "a name of lower case letters, digits, hyphens and underscores")
    if not _ID.fullmatch(identity):
        what = f"expected lower case letters, digits, hyphens and underscores, got {document.shown(identity)}"
        document.refuse(origin, "id", what)
    return assemble(
        entries,
        origin=origin,
        identity=identity,
        title=_plain(parsed, "title", "one line for people"),
        proof=_plain(parsed, "proof", "engine, vendor_tool or document"),
        digest=digest,
    )


def _resolved(
    parsed: document.Document, text: str, *, seen: tuple[str, ...]
) -> tuple[dict[str, document.Entry], str]:
    """Return the facts with those of the base below them, and the digest that covers both."""
    own = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    base = parsed.plain.get("based_on")
    if base is None:
        return dict(parsed.entries), f"sha256:{own.hexdigest()}"
    known = ids()
    if base not in known:
        what = f"unknown target {document.shown(base)}"
        document.refuse(parsed.origin, "based_on", what, hint=did_you_mean(base, known))
    if base in seen:
        document.refuse(parsed.origin, "based_on", f"{document.shown(base)} is based on itself")
    base_text = _catalogue_text(base)
    base_parsed = document.read(base_text, origin=f"{base}.toml")
    entries, base_digest = _resolved(base_parsed, base_text, seen=(*seen, base))
    entries.update(parsed.entries)
    both = hashlib.sha256(f"{base_digest}\nsha256:{own.hexdigest()}\n".encode())
    return entries, f"sha256:{both.hexdigest()}"


def _plain(parsed: document.Document, key: str, expected: str) -> str:
    if key not in parsed.plain:
        document.refuse(parsed.origin, key, f"missing; expected {expected}")
    return parsed.plain[key]


def _catalogue_text(name: str) -> str:
    return _PROFILES.joinpath(f"{name}.toml").read_bytes().decode("utf-8")


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ProfileError(f"{path}: larger than {MAX_FILE_BYTES} bytes; expected a target profile")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not UTF-8 at byte {error.start}") from error
