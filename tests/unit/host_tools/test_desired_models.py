"""What a repository signs for several models: what is named is asked for anew, the rest stays as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device_agent.contract.desired import DesiredArtifact, Trial
from host_tools.cli.main import main
from host_tools.errors import InputError
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.support import null_artifact

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = "device/door-7"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository", KeyRing(tmp_path / "keys"))
    made.init()
    return made


def added(repository: Repository, folder: Path, number: int) -> str:
    artifact = null_artifact(folder / f"m-{number}.ewa", latency_seconds=number * 1e-4)
    return repository.add(artifact, release_counter=number)


def test_what_is_named_is_asked_for_anew_and_the_rest_stays(repository: Repository, tmp_path: Path) -> None:
    one, two, three = (added(repository, tmp_path, number) for number in (1, 2, 3))
    first = repository.release(DEVICE, [], models={"plates": [two]})
    assert (dict(first.artifacts), list(first.models)) == ({}, ["plates"])
    second = repository.release(DEVICE, [one])
    (plates,) = second.models["plates"].artifacts.values()
    assert (plates.path, plates.since, second.serial) == (two, 1, 2)
    third = repository.release(DEVICE, [], models={"plates": [three]}, allow_downgrade=True)
    (main_artifact,), (plates,) = third.artifacts.values(), third.models["plates"].artifacts.values()
    assert (main_artifact.path, main_artifact.since, third.allow_downgrade) == (one, 2, False)
    assert (plates.path, plates.since, third.models["plates"].allow_downgrade) == (three, 3, True)
    assert repository.desired_of(DEVICE) == third
    assert not repository.release(DEVICE, [], models={"plates": []}).models, "and then nothing is said of it"


def test_a_rollout_of_the_main_model_carries_the_others_along(repository: Repository, tmp_path: Path) -> None:
    one, two, plates = (added(repository, tmp_path, number) for number in (1, 2, 3))
    before = repository.release("group/doors", [one], models={"plates": [plates]})
    ((profile, old),) = before.artifacts.items()
    (_, digest, _) = repository.released("small")[two]
    new = DesiredArtifact(path=two, digest=digest)
    trial = Trial(artifacts={profile: new}, salt="r1", share_ppm=1000)
    after = repository.ensure("group/doors", before.artifacts, trial=trial)
    assert after.models == before.models
    assert after.artifacts[profile].since == old.since
    assert repository.ensure("group/doors", before.artifacts, trial=trial) == after, "signed once"
    anew = repository.ensure("group/doors", before.artifacts, trial=trial, ask_anew=True)
    assert anew.models == before.models, "and not asked for anew"


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ({"main": "m"}, "models: expected names like"),
        ({"Plates": "m"}, "models: expected names like"),
        ({}, "nothing is named that it shall run"),
    ],
)
def test_what_cannot_be_signed_is_refused(
    repository: Repository, tmp_path: Path, models: dict[str, str], says: str
) -> None:
    path = added(repository, tmp_path, 1)
    with pytest.raises(InputError, match=says):
        repository.release(DEVICE, [], models={name: [path] for name in models})
    with pytest.raises(InputError, match="is not in the repository"):
        repository.release(DEVICE, [], models={"plates": ["models/x/y.ewa"]})


def test_the_command_names_models(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = added(repository, tmp_path, 1)
    where = ["repository", "release", str(tmp_path / "repository"), "--keys", str(tmp_path / "keys")]
    assert main([*where, "--device", "door-7", f"plates={path}"]) == 0
    assert "for no main model\n  model plates: for x86_64-onnxruntime" in capsys.readouterr().out
    assert main([*where, "--device", "door-7", "plates"]) != 0
    assert "plates: is not in the repository" in capsys.readouterr().err
    assert main([*where, "--device", "door-7", f"={path}"]) != 0
    assert "model" in capsys.readouterr().err
    assert main([*where, "--device", "door-7", "plates="]) != 0, "something has to run"
    assert "expected 1 to 64 profiles, got 0" in capsys.readouterr().err
