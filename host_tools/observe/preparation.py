"""What the host goes by to make inputs of frames."""

from __future__ import annotations

from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound
from host_tools.observe.text_input import TextInput

OpenPreparation = Preprocessing | Sound | TextInput
"""`device_agent.contract.preparation.Preparation` before it is packed: in the place of what is declared of texts stands what reads them."""
