"""``edgewright-agent enrol`` and ``renew``: from the configuration and the token's file to one sentence of what was done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.claim_token import MAX_TOKEN_CHARACTERS
from device_agent.contract.errors import ConfigError
from device_agent.enrolment.enrol import enrol, read_token, renew
from device_agent.enrolment.identity import utc_text

if TYPE_CHECKING:
    from device_agent.config import AgentConfig
    from device_agent.enrolment.identity import Identity


def enrol_device(config: AgentConfig, *, token_file: str, replace: bool) -> str:
    """Enrol this device; return what to tell the user.

    Raises:
        ConfigError: ``identity.folder`` is not set, the token's file cannot be read, or a package is missing.
        EdgewrightError: As `enrol` says.
    """
    folder = _folder(config)
    token = read_token(_read(token_file), device=config.device.id)
    done = enrol(folder, token, device=config.device.id, replace=replace)
    what = "enrolled" if done.is_new else "was enrolled already with this token"
    if replace and not done.is_new:
        what += ", which replaces nothing; another certificate needs a new token"
    return f"{done.identity.device} {what}: {_said(done.identity)}"


def renew_device(config: AgentConfig) -> str:
    """Renew this device's certificate; return what to tell the user.

    Raises:
        ConfigError: ``identity.folder`` is not set, or a package is missing.
        EdgewrightError: As `renew` says.
    """
    identity = renew(_folder(config), device=config.device.id)
    return f"{identity.device} has a new certificate: {_said(identity)}"


def _folder(config: AgentConfig) -> Path:
    if config.identity.folder is None:
        raise ConfigError(
            "identity.folder: is not set; the device's key and certificate are kept there.",
            hint='Add to agent.toml: [identity] folder = "identity".',
        )
    return config.identity.folder


def _read(origin: str) -> str:
    """Read the token: from a file or standard input and not from an argument, which every user of the machine could see."""
    try:
        if origin == "-":
            data = sys.stdin.buffer.read(MAX_TOKEN_CHARACTERS + 2)
        else:
            with Path(origin).open("rb") as stream:
                data = stream.read(MAX_TOKEN_CHARACTERS + 2)
    except OSError as error:
        raise ConfigError(f"--token-file: {origin} cannot be read: {error.strerror or error}.") from error
    return data.decode("ascii", "replace")


def _said(identity: Identity) -> str:
    return f"certificate {identity.serial}, valid until {utc_text(identity.not_after_seconds)}."
