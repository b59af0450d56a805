"""`AgentConfig`: everything the agent can be told, from one TOML file. Every limit is a field with its unit in its name.

Keys are strict: one that is not known is refused, with the one that was probably meant. Relative paths start at the
file's own folder. The password is never in the file: it is read from a file of its own or from the environment, and
never printed.

`device`, `model`, `messages` and `operation` hold the tables; `section` reads one, `rules` holds them together, `file` reads all.
"""

from device_agent.config.device import DeviceSection, HeatSection, IdentitySection, SensorsSection
from device_agent.config.file import (
    SECTIONS,
    AgentConfig,
    described,
    load_config,
    mqtt_password,
    parse_config,
)
from device_agent.config.messages import LogSection, MqttSection, SpoolSection, TelemetrySection
from device_agent.config.model import (
    ArtifactSection,
    EngineChoice,
    EngineSection,
    ModelSection,
    ResultsSection,
    SourceSection,
    SplitSection,
)
from device_agent.config.model_rules import frames_topic
from device_agent.config.models import alone, named_models
from device_agent.config.operation import CommandsSection, StatusSection, UpdateSection

__all__ = [
    "SECTIONS",
    "AgentConfig",
    "ArtifactSection",
    "CommandsSection",
    "DeviceSection",
    "EngineChoice",
    "EngineSection",
    "HeatSection",
    "IdentitySection",
    "LogSection",
    "ModelSection",
    "MqttSection",
    "ResultsSection",
    "SensorsSection",
    "SourceSection",
    "SplitSection",
    "SpoolSection",
    "StatusSection",
    "TelemetrySection",
    "UpdateSection",
    "alone",
    "described",
    "frames_topic",
    "load_config",
    "mqtt_password",
    "named_models",
    "parse_config",
]
