"""Desired states with a trial: who belongs, what survives, what an older reader sees, what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract import desired
from device_agent.contract.errors import ContractError, EdgewrightError
from tests.property.contract_values import COUNTS, DEVICE_IDS, DIGESTS, HARD_JSON, JSON

SALTS = st.text("abzABZ019_.-", min_size=1, max_size=20)
PROFILES = st.sampled_from(("x86_64-onnxruntime", "cortex-a-tflite", "cortex-m55"))
PATHS = st.builds("models/m/{}.ewa".format, st.text("az09", min_size=1, max_size=6))
SHARES = st.integers(0, desired.WHOLE_SHARE)


def artifacts(serial: int, *, least: int) -> st.SearchStrategy[dict[str, desired.DesiredArtifact]]:
    one = st.builds(desired.DesiredArtifact, path=PATHS, digest=DIGESTS, since=st.integers(0, serial))
    return st.dictionaries(PROFILES, one, min_size=least, max_size=3)


@st.composite
def states(draw: st.DrawFn) -> desired.Desired:
    serial = draw(st.integers(1, desired.MAX_COUNT))
    trial = None
    group = draw(st.booleans())
    if group and draw(st.booleans()):
        trial = desired.Trial(
            artifacts=draw(artifacts(serial, least=1)),
            salt=draw(SALTS),
            share_ppm=draw(SHARES),
            devices=tuple(draw(st.lists(DEVICE_IDS, max_size=4))),
        )
    return desired.Desired(
        subject=f"{'group' if group else 'device'}/{draw(DEVICE_IDS)}",
        serial=serial,
        artifacts=draw(artifacts(serial, least=0 if trial else 1)),
        allow_downgrade=draw(st.booleans()),
        trial=trial,
    )


def trial(share: int = 0, salt: str = "r1", devices: tuple[str, ...] = ()) -> desired.Trial:
    one = desired.DesiredArtifact(path="models/m/b.ewa", digest="sha256:" + "b" * 64)
    return desired.Trial(artifacts={"p": one}, salt=salt, share_ppm=share, devices=devices)


STATE = desired.Desired(
    subject="group/lab",
    serial=7,
    artifacts={"p": desired.DesiredArtifact(path="models/m/a.ewa", digest="sha256:" + "a" * 64)},
    trial=trial(1000, devices=("dev-1",)),
)


@settings(max_examples=200, deadline=None)
@given(states())
def test_a_desired_state_survives(state: desired.Desired) -> None:
    data = desired.encode(state)
    assert desired.decode(data, where="d", subject=state.subject) == state
    assert desired.encode(desired.decode(data, where="d", subject=state.subject)) == data


@settings(max_examples=200, deadline=None)
@given(SALTS, DEVICE_IDS, SHARES, SHARES)
def test_a_larger_share_keeps_whoever_was_in_it(salt: str, device: str, one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert desired.belongs(trial(large, salt), device) or not desired.belongs(trial(small, salt), device)
    assert desired.belongs(trial(desired.WHOLE_SHARE, salt), device), "the whole share is everybody"
    assert not desired.belongs(trial(0, salt), device), "and none is nobody"
    assert desired.belongs(trial(0, salt, (device,)), device), "but who is named"


@settings(max_examples=200, deadline=None)
@given(SALTS, DEVICE_IDS, SHARES)
def test_who_belongs_is_what_the_decision_says(salt: str, device: str, share: int) -> None:
    digest = hashlib.sha256(salt.encode() + b"\0" + device.encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    assert desired.belongs(trial(share, salt), device) == (number * 1_000_000 < share * 2**64)


@pytest.mark.parametrize("share", [10_000, 100_000, 500_000])
def test_a_share_is_that_much_of_a_fleet_and_another_salt_takes_others(share: int) -> None:
    devices = [f"device-{number}" for number in range(20_000)]
    first, second = (
        {one for one in devices if desired.belongs(trial(share, salt), one)} for salt in ("r1", "r2")
    )
    expected = share / desired.WHOLE_SHARE
    deviation = (expected * (1 - expected) / len(devices)) ** 0.5
    assert abs(len(first) / len(devices) - expected) < 5 * deviation
    both = len(first & second) / len(devices)
    assert abs(both - expected**2) < 6 * (expected**2 / len(devices)) ** 0.5, "salts are independent"


def test_known_places_that_another_implementation_must_give() -> None:
    assert desired.share_number("r1", "dev-1") == int(hashlib.sha256(b"r1\0dev-1").hexdigest()[:16], 16)
    assert [one for one in range(10) if desired.belongs(trial(300_000), f"dev-{one}")] == MEMBERS


MEMBERS = [4, 9]
"""Of ten devices, those in 30 % of salt ``r1``."""


def test_a_reader_of_1_0_keeps_what_the_others_run() -> None:
    document = json.loads(desired.encode(STATE))
    assert document["schema_version"] == "1.3"
    older = {"schema_version", "subject", "serial", "allow_downgrade", "artifacts"}
    assert older <= document.keys(), "nothing that 1.0 reads has moved"
    document.pop("trial")
    read = desired.decode(json.dumps(document).encode(), where="d", subject="group/lab")
    assert read == replace(STATE, trial=None)


def test_a_1_0_state_is_read() -> None:
    document = json.loads(desired.encode(replace(STATE, trial=None))) | {"schema_version": "1.0"}
    document["artifacts"]["p"].pop("since", None)
    read = desired.decode(json.dumps(document).encode(), where="d", subject="group/lab")
    assert (read.trial, read.artifacts["p"].since) == (None, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trial": {"share_ppm": 1_000_001}}, "share_ppm: expected an integer from 0 to 1000000"),
        ({"trial": {"share_ppm": -1}}, "share_ppm"),
        ({"trial": {"salt": ""}}, "salt: expected a text"),
        ({"trial": {"salt": "a b"}}, "salt: expected a text like"),
        ({"trial": {"devices": ["a/b"]}}, "devices: expected device ids like"),
        ({"trial": {"devices": ["d"] * 257}}, "devices: expected 0 to 256 items"),
        ({"trial": {"artifacts": {}}}, "trial.artifacts: expected 1 to 64 profiles"),
        ({"trial": None, "artifacts": {}}, "artifacts: expected 1 to 64 profiles"),
        ({"subject": "device/dev-1"}, "trial: expected none beside the desired state of a single device"),
        ({"artifacts": {"p": {"path": "models/m/a", "digest": "sha256:" + "a" * 64, "since": 8}}}, "since"),
    ],
)
def test_what_breaks_a_rule_is_refused(change: dict[str, Any], says: str) -> None:
    document = json.loads(desired.encode(STATE))
    for key, value in change.items():
        document[key] = {**document[key], **value} if key == "trial" and value else value
    with pytest.raises(ContractError, match=says.replace("(", r"\(")):
        desired.decode(json.dumps(document).encode(), where="d", subject=document["subject"])


def test_nothing_but_a_trial_is_a_desired_state_of_a_group_that_had_none() -> None:
    state = replace(STATE, artifacts={})
    assert desired.decode(desired.encode(state), where="d", subject="group/lab") == state


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_a_state_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads(desired.encode(STATE))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(HARD_JSON | JSON | COUNTS)
    with contextlib.suppress(EdgewrightError):
        state = desired.decode(json.dumps(document).encode(), where="d", subject="group/lab")
        assert desired.decode(desired.encode(state), where="d", subject="group/lab") == state
        if state.trial is not None:
            assert desired.belongs(state.trial, "dev-1") in (True, False)
