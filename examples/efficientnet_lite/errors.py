"""Errors of this example, below those of the host tools that it feeds."""

from __future__ import annotations

from host_tools.errors import InputError


class CheckpointError(InputError):
    """A weight file is damaged, of a format that is not read here, or holds more than plain tensors."""

    code = "checkpoint"


class MissingPackageError(InputError):
    """A Python package that brings weights or photos is not installed, or is not the expected one."""

    code = "missing_package"
