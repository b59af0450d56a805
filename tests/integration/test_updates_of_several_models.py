"""Updates of a model beside the main one: the agent as a process, a real broker, a real repository; and the power cut at every effect."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from device_agent.config import ModelSection
from device_agent.config.model import ArtifactSection
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import digest_of_file
from device_agent.update import child, trial
from device_agent.update.occurrences import NothingDesired, Offered, Unmet, Wanted
from device_agent.update.state_file import StateFile
from device_agent.update.store import Store
from device_agent.update.updates import Updates
from tests.integration.support import AgentProcess, null_artifact, wait_until
from tests.integration.test_several_models import config_of as several
from tests.integration.test_several_models import easy_artifact, fussy_artifact
from tests.integration.test_update_power_cuts import LONGEST_SECONDS, Points, in_a_fork
from tests.integration.update_repository import TARGET, Fleet
from tests.integration.update_within import Within, artifacts, config_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device_agent.config import AgentConfig
    from tests.integration.support import Mosquitto, Reader

pytestmark = pytest.mark.timeout(900)
PATIENCE_SECONDS = 150.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.server.close()


def want(fleet: Fleet, artifact: Path, *, counter: int, model: str = "plates") -> str:
    """Sign that a model beside the main one shall be this; return its digest."""
    path = fleet.repository.add(artifact, release_counter=counter)
    fleet.repository.release("device/dev-1", [], models={model: [path]})
    return digest_of_file(artifact)


def configured(fleet: Fleet, folder: Path, port: int, **update: Any) -> Path:
    """Write the configuration of a device with the models ``main`` and ``plates``."""
    np.savez(folder / "good.npz", x=np.zeros((5, 1, 8), np.float32))
    np.savez(folder / "hard.npz", x=np.full((5, 1, 8), 99.0, np.float32))
    source = {"kind": "replay", "loop": True, "rate_hz": 200.0}
    return several(
        folder,
        port,
        easy_artifact(folder / "main.ewa"),
        tables={
            "device": {"id": "dev-1", "targets": [TARGET]},
            "source": source | {"path": "good.npz"},
            "update": {
                "url": fleet.server.url,
                "root": str(fleet.root),
                "directory": "updates",
                "first_check_seconds": 0.2,
                "check_interval_seconds": 0.5,
                "require_synced_clock": False,
                "shadow_frames": 5,
                "shadow_min_cosine": -1.0,
                "probation_seconds": 0.5,
                "probation_inferences": 10,
                "probation_p95_ratio": 1000.0,
            }
            | update,
        },
        models=[
            {
                "name": "plates",
                "artifact": {"path": str(easy_artifact(folder / "plates.ewa"))},
                "engine": {"max_consecutive_errors": 3, "retry_min_seconds": 0.2},
                "source": source | {"path": "hard.npz"},
            }
        ],
    )


def known_good(folder: Path, model: str) -> str:
    standing = StateFile(folder / "updates" / "state.json").read().of(model)
    good = standing.known_good
    return "" if good is None or standing.probation is not None else good.digest


def windows(reader: Reader, model: str) -> list[dict[str, Any]]:
    return [line.body for line in reader.about("/m/inference") if line.body.get("model") == model]


def told(reader: Reader) -> list[tuple[str, dict[str, Any]]]:
    """Return the events about updates, in order, each once."""
    found = {}
    for line in reader.lines():
        if "/e/update_" in line.topic:
            found[line.body["seq"]] = (line.topic.rsplit("/", 1)[-1], line.body["details"])
    return [found[seq] for seq in sorted(found)]


def test_a_further_model_is_updated_and_one_that_fails_is_taken_back_while_the_main_one_runs_on(
    fleet: Fleet, tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    config = configured(fleet, tmp_path, mosquitto.port, shadow_frames=0)
    delivered = digest_of_file(tmp_path / "plates.ewa")
    with AgentProcess(config) as agent:
        wait_until(lambda: windows(reader, "plates"), what="both run", seconds=PATIENCE_SECONDS)
        good = want(fleet, easy_artifact(tmp_path / "plates-2.ewa", "second"), counter=1)
        wait_until(lambda: known_good(tmp_path, "plates") == good, what="kept", seconds=PATIENCE_SECONDS)
        want(fleet, fussy_artifact(tmp_path / "fussy.ewa"), counter=2)
        wait_until(
            lambda: any(name == "update_rolled_back" for name, _ in told(reader)),
            what="taken back",
            seconds=PATIENCE_SECONDS,
        )
        wait_until(
            lambda: (
                windows(reader, "plates")[-1]["artifact"] == good
                and windows(reader, "plates")[-1]["latency_count"]
            ),
            what="the good one runs again",
            seconds=PATIENCE_SECONDS,
        )
        assert agent.log.count("engine_loaded") == 1, "the main model was begun once"
        assert agent.stop() == 0
    main = windows(reader, "main")
    assert {one["boot_id"] for one in main} == {main[0]["boot_id"]}, "one process, from first to last"
    assert {one["artifact"] for one in main} == {digest_of_file(tmp_path / "main.ewa")}
    assert all(one["latency_count"] for one in main), "it inferred in every window"
    assert main[-1]["errors_total"] == 0
    assert windows(reader, "plates")[0]["artifact"] == delivered
    events = told(reader)
    assert [name for name, _ in events] == [
        "update_started",
        "update_tried",
        "update_activated",
        "update_committed",
        "update_started",
        "update_tried",
        "update_activated",
        "update_rolled_back",
    ]
    assert {details["slot"] for _, details in events} == {"plates"}
    assert events[-1][1]["reason"] == "engine"
    state = json.loads((tmp_path / "updates" / "state.json").read_bytes())
    assert state["schema_version"] == "2.0"
    assert state["models"]["plates"]["counter_floor"] == 1
    assert "Traceback" not in agent.log


def test_the_shadow_run_of_a_further_model_sees_its_frames(
    fleet: Fleet, tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    config = configured(fleet, tmp_path, mosquitto.port)
    with AgentProcess(config) as agent:
        wait_until(lambda: windows(reader, "plates"), what="both run", seconds=PATIENCE_SECONDS)
        good = want(fleet, easy_artifact(tmp_path / "plates-2.ewa", "second"), counter=1)
        wait_until(lambda: known_good(tmp_path, "plates") == good, what="kept", seconds=PATIENCE_SECONDS)
        want(fleet, fussy_artifact(tmp_path / "fussy.ewa"), counter=2)  # which takes the frames of `main`
        wait_until(
            lambda: any(name == "update_rejected" for name, _ in told(reader)),
            what="rejected",
            seconds=PATIENCE_SECONDS,
        )
        assert agent.stop() == 0
    events = dict(told(reader))
    assert events["update_activated"]["shadow_frames"] == 5
    assert events["update_activated"]["shadow_cosine"] == pytest.approx(1.0)
    assert (events["update_rejected"]["slot"], events["update_rejected"]["reason"]) == ("plates", "engine")


def test_until_a_further_model_is_updated_the_state_is_one_that_an_older_agent_reads(
    fleet: Fleet, tmp_path: Path
) -> None:
    config = configured(fleet, tmp_path, 1)
    new = easy_artifact(tmp_path / "main-2.ewa", "second")
    with AgentProcess(config) as agent:
        fleet.offer(new, counter=1)
        wait_until(
            lambda: known_good(tmp_path, "main") == digest_of_file(new), what="kept", seconds=PATIENCE_SECONDS
        )
        assert agent.stop() == 0
    state = json.loads((tmp_path / "updates" / "state.json").read_bytes())
    assert state["schema_version"] == "1.1"
    assert [path.name for path in (tmp_path / "updates" / "store").iterdir()] == [
        Store(tmp_path).path(digest_of_file(new)).name
    ]


# --- the power goes ---


def with_models(config: AgentConfig, **delivered: Path) -> AgentConfig:
    """Return the configuration with models beside the main one."""
    models = (
        ModelSection(name=name, artifact=ArtifactSection(path=path)) for name, path in delivered.items()
    )
    return replace(config, model=tuple(models))


def live(config: AgentConfig, wanted: dict[str, str], points: Points) -> None:
    """Be the device until each model has kept what is wanted; whatever is to run is verified when it begins."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        children: Any = Within()
        restarts: list[str] = []
        updates = Updates(
            config, report=lambda _: None, tell=lambda _: None, restart=restarts.append, children=children
        )
        with contextlib.closing(updates):
            updates._actions = {kind: points.before(action) for kind, action in updates._actions.items()}
            updates.begin()
            begun = {name: verified(one.artifact) for name, one in updates.models.items()}
            while not restarts and time.monotonic() < deadline:
                updates.turn(time.monotonic())
                while children.answers:
                    updates.handle(children.answers.pop(0))
                for name, one in updates.models.items():
                    if one.artifact != begun[name]:
                        begun[name] = verified(one.artifact)
                    updates.observed(inferences=10, errors=0, p95_seconds=0.001, model=name)
                state = updates._durable
                goods = {name: state.of(name).known_good for name in wanted}
                kept = {name: one.digest for name, one in goods.items() if one is not None}
                if kept == wanted and not state.notices:
                    return
                time.sleep(0.002)
    raise AssertionError(f"not kept in {LONGEST_SECONDS} s: {wanted}")


def verified(artifact: ArtifactSection) -> ArtifactSection:
    ArtifactArchive.open(artifact.path, expected_digest=artifact.digest).check_members()
    return artifact


@pytest.mark.slow
def test_a_power_cut_at_every_effect_of_updates_of_several_models_leaves_each_one_verified_and_the_next_work(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "limit_memory_and_time", lambda _: None)
    monkeypatch.setattr(trial, "limit_memory_and_time", lambda _: None)
    main, plates, gate, *new = artifacts(tmp_path, 8)
    digests = {path: digest_of_file(path) for path in (main, plates, gate, *new)}
    names = [fleet.repository.add(path, release_counter=1 + number) for number, path in enumerate(new)]
    # dev-2 is dev-1 later: its desired state is the next one. `gate` is not named, and stays as it was delivered.
    fleet.repository.release("device/dev-1", names[:1], models={"plates": names[1:2]})
    fleet.repository.release("device/dev-2", names[2:3], models={"plates": names[3:4]})

    def device(name: str, folder: Path) -> AgentConfig:
        return with_models(config_of(fleet, name, folder, main), plates=plates, gate=gate)

    def killed(folder: Path, kill_at: int) -> int:
        points = Points(kill_at=kill_at)
        live(device("dev-1", folder), {"main": digests[new[0]], "plates": digests[new[1]]}, points)
        (folder / "points").write_text(str(points.passed))
        return 0

    def recovered(folder: Path) -> int:
        live(
            device("dev-2", folder),
            {"main": digests[new[2]], "plates": digests[new[3]]},
            Points(kill_at=0),
        )
        return 0

    assert in_a_fork(lambda: killed(tmp_path / "dry", 0)) == 0
    count = int((tmp_path / "dry" / "points").read_text())
    assert count > 40, "two updates have that many effects, or the hooks do not see them"
    for kill_at in range(1, count + 1):
        folder = tmp_path / f"cut-{kill_at}"
        assert in_a_fork(lambda at=kill_at, where=folder: killed(where, at)) == -signal.SIGKILL, kill_at
        state = StateFile(folder / "state.json").read()
        assert sum(one.probation is not None for one in state.models.values()) <= 1, kill_at
        for standing in state.models.values():
            for release in (standing.active, standing.known_good):
                if release is not None:
                    path = Store(folder / "store").path(release.digest)
                    ArtifactArchive.open(path, expected_digest=release.digest).check_members()
        assert in_a_fork(lambda where=folder: recovered(where)) == 0, kill_at
        left = {path.name for path in (folder / "store").iterdir()}
        assert left == {Store(folder).path(digests[path]).name for path in new[2:4]}, kill_at
        assert "gate" not in StateFile(folder / "state.json").read().models, (
            "what is not updated is not touched"
        )


# --- what is signed ---


def test_each_model_is_answered_for_by_itself_from_signed_metadata(fleet: Fleet, tmp_path: Path) -> None:
    main, plates = artifacts(tmp_path, 2)
    names = [fleet.repository.add(path, release_counter=1) for path in (main, plates)]
    elsewhere = fleet.repository.add(
        null_artifact(tmp_path / "elsewhere.ewa", target="cortex-a-tflite"), release_counter=1
    )
    fleet.repository.release(
        "device/dev-1", names[:1], models={"plates": names[1:], "gate": [elsewhere], "not_here": names[1:]}
    )
    job = replace(fleet.check_job(), models=("plates", "gate", "door"))
    answer = fleet.do(job)
    assert isinstance(answer, Wanted)
    main_answer, plates_answer, gate_answer, door_answer = answer.answers
    assert isinstance(main_answer, Offered)
    assert isinstance(plates_answer, Offered)
    assert (main_answer.release.digest, main_answer.model) == (digest_of_file(main), "main")
    assert (plates_answer.release.digest, plates_answer.model) == (digest_of_file(plates), "plates")
    assert isinstance(gate_answer, Unmet)
    assert (gate_answer.code, gate_answer.model) == ("wrong_target", "gate")
    assert isinstance(door_answer, NothingDesired)
    assert (door_answer.serial, door_answer.model) == (1, "door")
    nobody = fleet.do(replace(job, subjects=("device/other",)))
    assert isinstance(nobody, Wanted)
    assert [one.serial for one in nobody.answers if isinstance(one, NothingDesired)] == [0, 0, 0, 0]
    older = fleet.do(fleet.check_job())
    assert older == main_answer, "an agent of one model hears of that alone"
