"""Errors of Edgewright: one root, split by who can act on them.

Every error that leaves our API is one of these. `code` is stable (telemetry, exit status, JSON); `hint` says
the next step.
"""

from __future__ import annotations


class EdgewrightError(Exception):
    """Root of every error that leaves our API.

    Attributes:
        code: Stable, lower_snake name of the kind of error.
        hint: What the reader can do next; empty when there is nothing.
    """

    code = "edgewright"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        stop = "" if message.endswith((".", "!", "?", ":", "\n")) else "."
        return f"{message}{stop} {self.hint}" if self.hint else message


class ContractError(EdgewrightError):
    """A manifest, message, topic or archive does not say what the contract demands; the sender mends it."""

    code = "contract"


class SchemaVersionError(ContractError):
    """The document is of a newer major version than this reader; update the reader."""

    code = "schema_version"


class ArchiveError(ContractError):
    """The file is not an ``.ewa`` archive as the contract has it; copy it again or make it anew."""

    code = "archive"


class TrustError(EdgewrightError):
    """The artifact must not be used; the device keeps what it has."""

    code = "trust"


class DigestMismatchError(TrustError):
    """Bytes are not those that the digest names."""

    code = "digest_mismatch"


class IncompatibleError(TrustError):
    """The artifact is for another target, engine or version."""

    code = "incompatible"


class TransferError(EdgewrightError):
    """The other side cannot be reached or stopped half way; try again later."""

    code = "transfer"


class DeviceError(EdgewrightError):
    """The device needs care: engine, storage or clock."""

    code = "device"


class EngineError(DeviceError):
    """An engine is absent, refuses the payload or failed while running it."""

    code = "engine"


class SelfTestError(DeviceError):
    """The engine's outputs are not the golden outputs that came with the artifact."""

    code = "self_test"


class StorageError(DeviceError):
    """The disk is full, read-only or failing."""

    code = "storage"


class MeasurementError(DeviceError):
    """A figure that was asked for cannot be had here, or was taken under conditions that make it worthless."""

    code = "measurement"


class ConfigError(EdgewrightError):
    """The configuration is wrong; the message names file and key."""

    code = "config"
