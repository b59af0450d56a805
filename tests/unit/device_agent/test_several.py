"""The parts that several models need: configuration, retries, commands that mean several, memory budgets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.backoff import Backoff
from device_agent.config import AgentConfig, alone, described, frames_topic, named_models, parse_config
from device_agent.contract.errors import ConfigError
from device_agent.memory_budget import MemoryBudget
from device_agent.orders import Orders

LEAST = '[device]\nid = "dev-1"\n[artifact]\npath = "a.ewa"\n[spool]\npath = "state/spool.db"\n'
GATE = '[[model]]\nname = "gate"\n[model.artifact]\npath = "g.ewa"\n'
DOOR = '[[model]]\nname = "door"\n[model.artifact]\npath = "d.ewa"\n'


def parsed(text: str) -> AgentConfig:
    return parse_config((LEAST + text).encode(), origin="agent.toml", folder=Path("/etc/edgewright"))


# --- configuration ---


def test_a_further_model_has_tables_of_its_own_with_the_same_keys_and_defaults() -> None:
    config = parsed(
        GATE
        + '[model.engine]\nthreads = 2\n[model.source]\nkind = "mqtt"\n[model.split]\npath = "h.ewa"\nratio = 0.1\n'
        + DOOR
    )
    gate, door = config.model
    assert (gate.name, gate.artifact.path, gate.engine.threads) == ("gate", Path("/etc/edgewright/g.ewa"), 2)
    assert (gate.split.path, gate.split.ratio, gate.split.seed) == (Path("/etc/edgewright/h.ewa"), 0.1, "0")
    assert door.engine == config.engine
    assert door.source == config.source
    assert [name for name, _ in named_models(config)] == ["main", "gate", "door"]
    assert frames_topic(alone(config, gate), "gate") == "ew/v1/device/dev-1///i/gate"
    assert described(config)["model"][0]["artifact"]["path"] == "/etc/edgewright/g.ewa"  # type: ignore[index]


def test_a_further_model_knows_no_update_and_no_variant_for_heat() -> None:
    heat = '[heat]\nslow_celsius = 60.0\nvariant_celsius = 70.0\nvariant_path = "small.ewa"\n'
    update = '[update]\nurl = "http://h/"\nroot = "root.json"\ndirectory = "up"\n'
    config = parsed(heat + update + GATE)
    gate = alone(config, config.model[0])
    assert (gate.update.url, gate.heat.variant_path, gate.heat.slow_celsius) == (None, None, 60.0)
    assert config.update.url == "http://h/"


def test_without_the_tables_nothing_is_different() -> None:
    config = parsed("")
    assert config.model == ()
    assert config.split.path is None
    assert named_models(config) == [("main", config)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[model]\nname = "gate"', "model: expected tables [[model]], one for each further model."),
        ('[[model]]\nname = "gate"', "agent.toml: model gate.artifact: is missing."),
        ('[[model]]\n[model.artifact]\npath = "g"', "agent.toml: model 1.name: is missing."),
        (GATE + GATE, "model: two are named 'gate'."),
        (GATE.replace("gate", "main"), "model main.name: 'main' is the model of [artifact]."),
        (GATE.replace("gate", "Gate-1"), "model 1.name: expected lower case letters, digits and _, a letter first"),
        (GATE.replace('"gate"', "7"), "model 1.name: expected a text, not empty and without NUL, got 7."),
        (GATE.replace("gate", "g" * 65), "at most 64; got"),
        (GATE + "[model.engin]\nthreads = 1", "model gate: engin: unknown. Did you mean 'engine'?"),
        (GATE + "[model.source]\nrate = 1", "model gate.source: rate: unknown. Did you mean 'rate_hz'?"),
        (GATE + "[model.source]\nrate_hz = -1", "model gate.source.rate_hz: expected 0 to 100000, got -1."),
        (GATE + "[model.heat]\nslow_celsius = 1.0", "model gate: heat: unknown."),
        (GATE + '[model.update]\nurl = "http://h/"', "model gate: update: unknown."),
        ('[[model]]\nname = "gate"\nartifact = "g.ewa"', "model gate.artifact: expected a table, got 'g.ewa'."),
        (GATE + '[model.source]\nkind = "replay"', "model gate: source.path: is missing; source.kind 'replay' needs it."),
        (GATE + "[model.split]\nratio = 0.5\nseed = 'x'", "model gate: split.path: is missing; split.digest"),
        (GATE + "[model.artifact.x]\ny = 1", "model gate.artifact: x: unknown."),
        (GATE + '[model.split]\npath = "b"\ndigest = "md5:1"', "model gate: split.digest: expected"),
        (GATE + "[model.engine]\nretry_min_seconds = 9\nretry_max_seconds = 1", "engine.retry_min_seconds: is above"),
        ("".join(GATE.replace("gate", f"m{n}") for n in range(16)), "16 tables [[model]]; at most 15 models run beside"),
        ('[split]\npath = "b"', "split.path: every frame of source.kind 'null' has the same id"),
        ("[split]\nratio = 1.5", "split.ratio: expected 0 to 1, got 1.5."),
        ("[split]\nratio = 0.1", "agent.toml: split.path: is missing; split.digest"),
        (
            '[split]\npath = "b"\n[source]\nkind = "http"\n[update]\nurl = "http://h/"\nroot = "r"\ndirectory = "d"',
            "split.path: not with update.url",
        ),
        (
            '[split]\npath = "b"\n[source]\nkind = "http"\n[heat]\nvariant_celsius = 70\nvariant_path = "c"',
            "split.path: not with heat.variant_path",
        ),
        (
            '[source]\nkind = "http"\n' + GATE + '[model.source]\nkind = "http"\nhttp_address = "0.0.0.0"',
            "model gate: source.http_port: main listens at 127.0.0.1:8090 already.",
        ),
        (
            GATE + '[model.source]\nkind = "camera"\npath = "/dev/video0"\n' + DOOR
            + '[model.source]\nkind = "camera"\npath = "/dev/../dev/video0"',
            "model door: source.path: gate has the camera /dev/video0 already",
        ),
        (
            '[source]\nkind = "mqtt"\ntopic = "a/+/c"\n' + GATE + '[model.source]\nkind = "mqtt"\ntopic = "a/#"',
            "model gate: source.topic: its topics and those of main are partly the same",
        ),
        (
            '[results]\njsonl = "r"\n' + GATE + '[model.results]\njsonl = "x/../r"',
            "model gate: results.jsonl: /etc/edgewright/r is results.jsonl too.",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_model(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[source]\nkind = "mqtt"\ntopic = "a/b"\n' + GATE + '[model.source]\nkind = "mqtt"\ntopic = "a/b"',
        '[source]\nkind = "mqtt"\n' + GATE + '[model.source]\nkind = "mqtt"',
        '[source]\nkind = "mqtt"\ntopic = "a/+"\n' + GATE + '[model.source]\nkind = "mqtt"\ntopic = "a/b/c"',
        '[source]\nkind = "http"\n' + GATE + '[model.source]\nkind = "http"\nhttp_port = 8091',
        '[results]\njsonl = "-"\n' + GATE + '[model.results]\njsonl = "-"',
    ],
)
def test_what_two_models_can_share(text: str) -> None:
    assert parsed(text).model


# --- retries ---


def test_pauses_grow_to_the_longest_and_begin_anew_after_it_has_worked_for_long() -> None:
    backoff = Backoff(min_seconds=1.0, max_seconds=4.0)
    assert [backoff.failed(0.0) for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    backoff.works(10.0)
    assert backoff.failed(13.9) == 4.0  # it has not worked for long
    backoff.works(20.0)
    assert backoff.failed(24.0) == 1.0


# --- commands that mean several ---


def test_a_command_ends_once_when_all_are_done_and_fails_if_one_does() -> None:
    ends: list[tuple[tuple[str, str], str, str]] = []

    def complete(key: tuple[str, str], *, code: str, reason: str) -> None:
        ends.append((key, code, reason))

    orders = Orders(complete)
    orders.begin(("pause", "1"), ["main", "gate"])
    orders.done(("pause", "1"), "gate", code="not_running", reason="it is not running: waiting")
    orders.done(("pause", "1"), "gate")
    orders.done(("pause", "0"), "main")
    assert not ends
    orders.done(("pause", "1"), "main")
    orders.done(("pause", "1"), "main")
    assert ends == [(("pause", "1"), "not_running", "gate: it is not running: waiting")]
    orders.begin(("resume", "2"), ["main", "gate"])
    orders.begin(("pause", "3"), ["main"])
    orders.done(("resume", "2"), "main")
    orders.done(("pause", "3"), "main", reason="it was so already")
    assert ends[1:] == [(("pause", "3"), "", "main: it was so already")]


@given(st.permutations(["main", "gate", "door"]))
def test_the_order_in_which_models_are_done_does_not_matter(names: list[str]) -> None:
    ends: list[str] = []
    orders = Orders(lambda _, *, code, reason: ends.append(code + reason))
    orders.begin(("resume", "1"), names)
    for name in names:
        assert not ends
        orders.done(("resume", "1"), name)
    assert ends == [""]


# --- memory ---


# In a process of its own, from the kernel and not from the allocator: what other tests left free would be given again, and add nothing.
LOADS = """
import mmap
from device_agent.memory_budget import MemoryBudget, MemoryBudgetError

def load() -> mmap.mmap:
    pages = mmap.mmap(-1, 16 << 20)
    for start in range(0, len(pages), mmap.PAGESIZE):
        pages[start] = 1
    return pages

budget = MemoryBudget(24 << 20)
held = []
for _ in range(3):
    budget.begin()
    with budget.spending():
        held.append(load())
try:
    with budget.spending():
        held.append(load())
except MemoryBudgetError as error:
    print(error)
"""


def test_a_model_that_adds_too_much_is_refused_and_one_that_is_loaded_again_is_measured_anew() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=True)
    assert re.search(r"added 3\d+ bytes of resident memory; 25165824 are allowed", ran.stdout)


def test_without_a_budget_nothing_is_measured() -> None:
    with MemoryBudget(0).spending():
        assert bytes(1 << 20)
