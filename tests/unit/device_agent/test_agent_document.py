"""``docs/agent.md`` says what the code does."""

from __future__ import annotations

import ast
import re
import signal
from pathlib import Path

import device_agent
from device_agent.cli import _DEVICE_FAILED, _STATUS
from device_agent.config import parse_config
from device_agent.contract.telemetry.event import UPDATE_EVENTS
from device_agent.contract.telemetry.measurements import MEASUREMENTS
from device_agent.contract.topics import DeviceTopics
from device_agent.sensors.listing import _PLACES
from device_agent.update import notices
from tests.unit.device_agent.agent_reference import DOCUMENT, with_tables

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    assert with_tables(TEXT) == TEXT, (
        "docs/agent.md is old: python -m tests.unit.device_agent.agent_reference"
    )


def test_every_setting_says_what_it_is() -> None:
    rows = re.findall(r"^\| `\w+` \|.*\|$", TEXT, re.MULTILINE)
    assert len(rows) > 50
    assert all(row.split("|")[-2].strip() for row in rows)


def test_every_exit_status_is_explained_and_no_other() -> None:
    section = TEXT.split("## Exit status")[1].split("## agent.toml")[0]
    explained = {int(status) for status in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert explained == {*_STATUS.values(), _DEVICE_FAILED, 128 + signal.SIGINT, 128 + signal.SIGTERM}


def recorded_events() -> set[str]:
    """Every name of an event that the agent's source records."""
    places = {"event": 0, "_lose": 2, "RecordEvent": "name", "Notice": "code"}
    found = set(UPDATE_EVENTS)
    for file in Path(device_agent.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called not in places:
                continue
            place = places[called]
            named = [keyword.value for keyword in node.keywords if keyword.arg == place]
            given = node.args[place : place + 1] if isinstance(place, int) else named
            found |= {
                part.value
                for value in given
                for part in ast.walk(value)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
    return found


def test_the_list_of_update_events_is_closed() -> None:
    source = Path(notices.__file__).read_text(encoding="utf-8")
    assert tuple(re.findall(r'name="(\w+)"', source)) == UPDATE_EVENTS


def test_every_event_is_explained_and_no_other() -> None:
    table = TEXT.split("| event | severity |")[1].split("### Numbers")[0]
    explained = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert explained == recorded_events()


def test_every_topic_is_explained() -> None:
    topics = DeviceTopics("ID")
    sent = [topics.measurement(kind) for kind in MEASUREMENTS]
    sent += [topics.units("TYPE".lower()), topics.event("EVENT".lower()), topics.results(), topics.frames()]
    sent += [topics.health(), topics.birth()]
    table = TEXT.split("| topic | what |")[1].split("`degraded` is")[0].lower()
    for topic in sent:
        assert f"| `{topic.removeprefix('ew/v1/device/ID/')}` |" in table, topic


def test_the_example_of_heat_is_a_configuration() -> None:
    examples = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (heat,) = [example for example in examples if "[heat]" in example]
    least = '[device]\nid = "a"\n[artifact]\npath = "a.ewa"\n[spool]\npath = "s.db"\n'
    config = parse_config((least + heat).encode(), origin="docs/agent.md", folder=Path("/etc/edgewright"))
    assert config.heat.pause_celsius == 82.0


def test_the_example_of_several_models_is_a_configuration() -> None:
    examples = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (several,) = [example for example in examples if "[[model]]" in example]
    config = parse_config(several.encode(), origin="docs/agent.md", folder=Path("/etc/edgewright"))
    (plates,) = config.model
    assert (config.split.ratio, plates.name, plates.source.http_port) == (0.1, "plates", 8091)


def test_every_source_of_readings_is_explained() -> None:
    table = TEXT.split("## Sensors")[1].split("## Energy per inference")[0]
    assert all(f"`{source}`" in table for source in (*_PLACES, "pressure"))


def test_the_example_is_a_configuration() -> None:
    (example,) = [
        example for example in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL) if "[mqtt]" in example
    ]
    config = parse_config(example.encode(), origin="docs/agent.md", folder=Path("/etc/edgewright"))
    assert config.mqtt.tls_key == Path("/etc/edgewright/device.key")


def test_hints_that_name_the_document_name_one_that_is_there() -> None:
    for file in Path(device_agent.__file__).parent.rglob("*.py"):
        for name in re.findall(r"docs/\w+\.md", file.read_text(encoding="utf-8")):
            assert (DOCUMENT.parents[1] / name).is_file(), f"{file.name}: {name}"
