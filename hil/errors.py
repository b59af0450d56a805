"""Errors of rigs, boards and scenarios, split by who can act."""

from __future__ import annotations

from device_agent.contract.errors import DeviceError
from host_tools.errors import InputError


class BoardError(InputError):
    """A board's file is wrong; the message names file and key."""

    code = "board"


class ScenarioError(InputError):
    """A scenario's file is wrong, or asks for what cannot be; the message names file and key."""

    code = "scenario"


class FieldError(InputError):
    """The telemetry of the field does not have what is asked for, or no scenario can be made of it."""

    code = "field"


class UnsupportedFeatureError(InputError):
    """The rig has no such feature; take another rig."""

    code = "rig_feature"


class RigError(DeviceError):
    """The rig itself failed: it cannot be reached, powered or written to. What is tested on it is neither good nor bad."""

    code = "rig"


class BootError(DeviceError):
    """The board has its power back and does not come up: the very brick that tests look for, and no failure of the rig."""

    code = "boot"


class AgentError(DeviceError):
    """The agent did not do what it was told within its time, or ended; the message has its last words."""

    code = "agent"
