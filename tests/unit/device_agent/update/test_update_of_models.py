"""Decisions about one of several models; their interplay is in tests/property/test_update_schedules.py."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from test_update_machine import LIMITS, NEW, OLD, STATE, moment, offer, told

from device_agent.contract.errors import ContractError
from device_agent.update import effects as do
from device_agent.update import occurrences as was
from device_agent.update.jobs import decode_answer, encode
from device_agent.update.machine import UpdateMachine
from device_agent.update.state import Candidate, Probation, Standing, UpdateState
from device_agent.update.state_file import decode
from device_agent.update.state_file import encode as encode_state

MODELS = ("main", "plates", "gate")
OF_PLATES = replace(NEW, digest="sha256:" + "2" * 64, name="p")
DELIVERED = replace(OLD, digest="sha256:" + "3" * 64, name="p", counter=0)
UPDATED = STATE.having("plates", Standing(active=OF_PLATES, known_good=OF_PLATES, counter_floor=6))
ON_PROBATION = STATE.having(
    "plates",
    Standing(
        active=OF_PLATES,
        known_good=DELIVERED,
        probation=Probation(attempts=0, serial=8, baseline_p95_seconds=None),
    ),
)
TRIED = was.Tried(samples=1, largest_lsb=0.0, load_seconds=0.1)
SHADOWED = was.Shadowed(frames=9, cosine=0.99)


def started(state: UpdateState = STATE, models: tuple[str, ...] = MODELS) -> UpdateMachine:
    machine = UpdateMachine(state, LIMITS, models=models)
    machine.handle(was.Started(moment(0.0)))
    return machine


def checked(machine: UpdateMachine, *answers: Any, now: float = 5.0) -> tuple[do.Effect, ...]:
    assert do.Check() in machine.handle(was.Tick(moment(now)))
    return machine.handle(was.Wanted(answers))


def wanted_of(model: str, **changes: Any) -> was.Offered:
    return replace(offer(OF_PLATES), model=model, **changes)


def kinds(effects: tuple[do.Effect, ...]) -> list[str]:
    return [
        type(one).__name__ for one in effects if not isinstance(one, do.WriteState | do.Tell | do.Collect)
    ]


def test_a_further_model_is_taken_from_where_it_lies_when_it_is_first_wanted_and_switched_within_the_process() -> (
    None
):
    machine = started()
    assert set(machine.state.models) == {"main"}
    effects = checked(machine, was.NothingDesired("no", 8), wanted_of("plates"))
    assert effects[-1] == do.TakeDelivered("plates")
    seen = [*machine.handle(was.DeliveredTaken(DELIVERED, "plates"))]
    for report in (was.Fetched(), TRIED, SHADOWED):
        seen += machine.handle(report)
    assert kinds(tuple(seen)) == ["Fetch", "Try", "Shadow", "Switch"]
    assert seen[-1] == do.Switch(OF_PLATES, "plates")
    standing = machine.state.of("plates")
    assert (standing.active, standing.known_good) == (OF_PLATES, DELIVERED)
    assert standing.probation is not None
    assert standing.probation.attempts == 1, "counted before it is begun"
    machine.handle(was.Switched("plates"))
    machine.handle(was.Observed(inferences=30, errors=0, p95_seconds=0.01))
    assert machine.state.of("plates").probation is not None, "another model's results prove nothing"
    machine.handle(was.Observed(inferences=30, errors=0, p95_seconds=0.01, model="plates"))
    assert told(machine.handle(was.Tick(moment(16.0)))) == [("update_committed", None)]
    assert (machine.state.of("plates").counter_floor, machine.state.main.counter_floor) == (6, 5)


def test_what_is_wrong_with_one_model_keeps_no_other_away() -> None:
    machine = started(UPDATED.having("gate", Standing(active=OLD, known_good=OLD)))
    unmet = was.Unmet(code="wrong_target", message="for another", model="plates")
    effects = checked(machine, was.NothingDesired("no", 8), unmet, wanted_of("gate"))
    assert told(effects) == [("update_postponed", "wrong_target"), ("update_started", None)]
    assert kinds(effects) == ["Fetch"]
    assert machine.handle(was.FetchFailed(code="transfer", message="away")) != ()
    assert told(checked(machine, was.NothingDesired("no", 8), unmet, now=500.0)) == [], "told once"


def test_a_release_for_a_model_that_is_not_updated_is_told_once_and_changes_nothing() -> None:
    machine = started(UPDATED)
    held = was.Unmet(code="model_split", message="its frames are split", model="compared")
    before = machine.state
    assert told(checked(machine, was.NothingDesired("no", 8), held)) == [("update_postponed", "model_split")]
    assert machine.state.of("compared") == before.of("compared")
    assert told(checked(machine, was.NothingDesired("no", 8), held, now=500.0)) == []


def test_what_cannot_be_fetched_does_not_hold_up_the_next_and_is_asked_for_again_soon() -> None:
    machine = started(UPDATED.having("gate", Standing(active=OLD, known_good=OLD)))
    newer = replace(OF_PLATES, digest="sha256:" + "4" * 64, counter=9)
    checked(machine, wanted_of("plates", release=newer), wanted_of("gate"))
    effects = machine.handle(was.FetchFailed(code="transfer", message="away"))
    assert kinds(effects) == ["Fetch"]
    machine.handle(was.Fetched())
    machine.handle(was.TrialFailed(code="self_test", message="no"))
    assert machine.next_due_seconds == pytest.approx(35.0)
    assert machine.state.of("plates").candidate is not None


def test_a_disk_that_cannot_take_what_was_delivered_tries_nothing_that_could_not_be_taken_back() -> None:
    machine = started(STATE.having("gate", Standing(active=OLD, known_good=OLD)))
    checked(machine, wanted_of("plates"), wanted_of("gate"))
    effects = machine.handle(was.Undelivered(message="full", model="plates"))
    assert told(effects) == [("update_postponed", "storage"), ("update_started", None)]
    assert machine.state.of("plates").candidate is None
    assert kinds(effects) == ["Fetch"]


def test_a_further_model_that_fails_on_probation_is_taken_back_within_the_process() -> None:
    machine = started(ON_PROBATION)
    effects = machine.handle(was.RunFailed(code="engine", message="no", model="plates"))
    assert told(effects) == [("update_rolled_back", "engine")]
    assert effects[-1] == do.Switch(DELIVERED, "plates")
    assert machine.state.of("plates").has_rejected(OF_PLATES.digest, 8)


def test_a_crash_of_the_process_is_held_against_the_model_on_probation_alone() -> None:
    state = ON_PROBATION
    for _ in range(3):
        machine = UpdateMachine(state, LIMITS, models=MODELS)
        assert do.Run(OF_PLATES, "plates") in machine.handle(was.Started(moment(0.0)))
        state = machine.state  # and the power goes
    effects = UpdateMachine(state, LIMITS, models=MODELS).handle(was.Started(moment(0.0)))
    assert told(effects) == [("update_rolled_back", "crash_loop")]
    assert {do.Run(OLD), do.Run(DELIVERED, "plates"), do.RunDelivered("gate")} <= {
        one for one in effects if isinstance(one, do.Run | do.RunDelivered)
    }


def test_a_damaged_further_model_goes_back_to_the_delivered_artifact_within_the_process() -> None:
    machine = started(UPDATED)
    effects = machine.handle(was.RunFailed(code="digest_mismatch", message="a bit", model="plates"))
    assert told(effects) == [("update_store_damaged", "digest_mismatch")]
    assert effects[-1] == do.Switch(None, "plates")
    assert machine.state.of("plates").counter_floor == 6
    machine.handle(was.Switched("plates"))
    assert machine.handle(was.RunFailed(code="digest_mismatch", message="x", model="plates")) == ()
    assert machine.next_due_seconds == 0.0, "it is asked for again at once"


def test_a_start_that_ends_for_the_main_model_is_not_held_against_another() -> None:
    machine = started(ON_PROBATION)
    effects = machine.handle(was.RunFailed(code="digest_mismatch", message="a bit"))
    assert isinstance(effects[-1], do.Restart)
    probation = machine.state.of("plates").probation
    assert probation is not None
    assert probation.attempts == 0


def test_a_disk_that_cannot_count_a_start_begins_every_model_with_what_is_good() -> None:
    machine = UpdateMachine(ON_PROBATION, LIMITS, models=MODELS)
    machine.handle(was.Started(moment(0.0)))
    unwritten = was.StateUnwritten(message="full", durable=ON_PROBATION, begun=frozenset({"main"}))
    effects = machine.handle(unwritten)
    assert effects[:2] == (do.Run(DELIVERED, "plates"), do.RunDelivered("gate"))
    again = machine.handle(was.Tick(moment(machine.next_due_seconds)))
    assert kinds(again) == ["Switch"], "and what was to begin does, once that can be counted"


def test_a_model_that_is_configured_no_more_leaves_its_floor() -> None:
    candidate = Candidate(release=NEW, size_bytes=9, path="models/m/a", serial=7)
    plates = replace(ON_PROBATION.of("plates"), counter_floor=4, candidate=candidate)
    machine = UpdateMachine(STATE.having("plates", plates), LIMITS, models=("main",))
    effects = machine.handle(was.Started(moment(0.0)))
    assert told(effects) == [("update_rejected", "withdrawn"), ("update_rolled_back", "withdrawn")]
    standing = machine.state.of("plates")
    assert (standing.active, standing.candidate, standing.counter_floor) == (None, None, 4)
    assert effects[-1] == do.Collect(frozenset({OLD.digest}))


def test_what_is_said_of_a_model_that_is_not_here_is_left_out() -> None:
    effects = checked(started(), was.NothingDesired("no", 8), wanted_of("door"))
    assert kinds(effects) == []
    assert "door" not in started().state.models


def test_the_state_is_of_version_2_only_with_several_models() -> None:
    assert json.loads(encode_state(STATE))["schema_version"] == "1.1"
    document = json.loads(encode_state(UPDATED))
    assert document["schema_version"] == "2.0"
    assert decode(encode_state(UPDATED), where="x") == UPDATED
    with pytest.raises(ContractError, match="newer"):
        decode(json.dumps({**document, "schema_version": "3.0"}).encode(), where="x")
    document["models"]["plates"]["known_good"] = None
    with pytest.raises(ContractError, match="plates: active, known_good and probation do not go together"):
        decode(json.dumps(document).encode(), where="x")


def test_an_answer_about_several_models_survives_the_way_from_the_child() -> None:
    unmet = was.Unmet(code="wrong_target", message="m", model="gate")
    answer = was.Wanted((was.NothingDesired("no", 8), wanted_of("plates"), unmet))
    assert decode_answer(encode(answer)) == answer
    assert decode_answer(encode(answer)[:-9]) is None
    assert decode_answer(b'{"kind": "Wanted", "answers": [{"kind": "x"}]}') is None
    assert decode_answer(b'{"kind": "Wanted", "answers": [7]}') is None
