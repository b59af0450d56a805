"""``edgewright-agent support-bundle``: one bounded ``.tar.gz`` for whoever helps. Nothing secret goes in.

What goes in is written here one by one; no folder is swept up. The spool, keys, certificates and password files stay
where they are, and the password itself is struck out of every text, should a log hold it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Final

from device_agent import __version__
from device_agent.check import sensors_found
from device_agent.config import described, mqtt_password
from device_agent.config.paths import socket_path
from device_agent.contract.document import visible, visible_json
from device_agent.contract.errors import EdgewrightError, StorageError
from device_agent.engines import available
from device_agent.operations.diagnosis import as_lines, diagnose
from device_agent.operations.status_socket import read_status
from device_agent.sensors.host import host_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from device_agent.config import AgentConfig

_MEMBER_BYTES: Final = 1 << 20
"""Longest member; of a longer one the end is kept, where the news is. Seven members bound the bundle."""
_JOURNAL_LINES: Final = 5_000
_JOURNAL_SECONDS: Final = 20.0
_UNIT: Final = "edgewright-agent.service"
_STRUCK_OUT: Final = b"(struck out)"
_PROC: Final = ("meminfo", "loadavg", "uptime", "mounts", "pressure/cpu", "pressure/memory", "pressure/io")


def write_bundle(config: AgentConfig, path: Path) -> Mapping[str, int]:
    """Write the bundle; return its members and their sizes in bytes.

    Raises:
        StorageError: ``path`` is there already, or cannot be written.
    """
    parts: Mapping[str, Callable[[], str]] = {
        "about.json": _about,
        "config.json": lambda: _json(described(config)),
        "status.json": lambda: _json(read_status(socket_path(config))),
        "diagnosis.txt": lambda: as_lines(diagnose(config)),
        "machine.json": lambda: _json(
            {**host_facts(), "engines": available(), "sensors": sensors_found(config)}
        ),
        "kernel.txt": _kernel,
        "journal.txt": _journal,
    }
    secrets = _secrets(config)
    sizes: dict[str, int] = {}
    begun = False
    try:
        # Not over an existing file, and for nobody else's eyes.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        begun = True
        with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, make in parts.items():
                data = _clean(_made(make), secrets)
                sizes[name] = len(data)
                member = tarfile.TarInfo(f"edgewright-support/{name}")
                member.size, member.mtime, member.mode = len(data), int(time.time()), 0o600
                archive.addfile(member, io.BytesIO(data))
    except OSError as error:
        if begun:
            path.unlink(
                missing_ok=True
            )  # a part of a bundle helps nobody, and would be in the way of the next
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}.", hint="Choose another --out."
        ) from error
    return sizes


def _made(make: Callable[[], str]) -> str:
    """Return a part, or why there is none: a bundle is asked for where something is broken."""
    try:
        return make()
    except EdgewrightError as error:
        return f"not to be had: {error}\n"
    except (OSError, subprocess.SubprocessError) as error:
        return f"not to be had: {type(error).__name__}: {error}\n"


def _clean(text: str, secrets: list[bytes]) -> bytes:
    data = text.encode("utf-8", "backslashreplace")
    for secret in secrets:
        data = data.replace(secret, _STRUCK_OUT)
    if len(data) > _MEMBER_BYTES:
        return b"(the beginning was left out)\n" + data[-_MEMBER_BYTES + 64 :]
    return data


def _secrets(config: AgentConfig) -> list[bytes]:
    """Return what must not go in, as it is and in every form in which a text or JSON of ours would have it."""
    try:
        password = mqtt_password(config.mqtt)
    except EdgewrightError:
        return []  # it cannot be read here, so nothing of ours has read it either
    if not password:
        return []
    forms = {password, visible(password), visible_json(password)[1:-1], json.dumps(password)[1:-1]}
    # The longest first: what JSON makes of a backslash holds the backslash.
    return [form.encode("utf-8", "backslashreplace") for form in sorted(forms, key=len, reverse=True)]


def _json(document: Mapping[str, object]) -> str:
    return visible_json(document, indent=1) + "\n"


def _about() -> str:
    return _json({"agent_version": __version__, "time": round(time.time(), 3), "uid": os.getuid()})


def _kernel() -> str:
    parts = []
    for name in _PROC:
        try:
            with open(f"/proc/{name}", encoding="utf-8", errors="replace") as stream:  # noqa: PTH123  /proc has no size
                parts.append(f"== {name}\n{stream.read(1 << 16)}")
        except OSError as error:
            parts.append(f"== {name}\nnot to be had: {error.strerror}\n")
    return "\n".join(parts)


def _journal() -> str:
    command = [
        "journalctl",
        "--no-pager",
        "--output=short-iso",
        f"--lines={_JOURNAL_LINES}",
        f"--unit={_UNIT}",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_JOURNAL_SECONDS, check=False
    )
    return done.stdout + done.stderr
