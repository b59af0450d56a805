"""`edgewright-agent check` finds out beforehand what would keep updates and the policy for heat from working in the field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.support import command, null_artifact, onnx_artifact, write_config
from tests.integration.update_repository import TARGET, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_BROKER = 1


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.server.close()


def config_of(fleet: Fleet, folder: Path, **tables: Any) -> Path:
    update = {"url": fleet.server.url, "root": str(fleet.root), "directory": "updates"}
    artifact = null_artifact(folder / "a.ewa")
    return write_config(
        folder, NO_BROKER, artifact, **({"device": {"targets": [TARGET]}, "update": update} | tables)
    )


def test_check_asks_the_repository_and_changes_nothing(fleet: Fleet, tmp_path: Path) -> None:
    config = config_of(fleet, tmp_path)
    fleet.offer(null_artifact(tmp_path / "new.ewa", latency_seconds=0.001), counter=1)
    before = sorted(tmp_path.rglob("*"))
    done = command("check", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["updates"]
    assert found["answer"] == "can be trusted; small 1.2.0 is wanted"
    assert found["root valid until"].startswith("2")
    assert found["here"] == "the delivered artifact runs; there was no update yet"
    assert sorted(tmp_path.rglob("*")) == before
    fleet.server.close()
    done = command("check", "--config", str(config), "--json")
    assert done.returncode == 0, "a repository that is away is no problem"
    assert "no update could be had now" in json.loads(done.stdout)["updates"]["answer"]


def test_check_says_that_a_model_whose_frames_are_split_is_not_updated(fleet: Fleet, tmp_path: Path) -> None:
    config = config_of(fleet, tmp_path)
    (tmp_path / "frames").mkdir()
    a, b = null_artifact(tmp_path / "p.ewa"), null_artifact(tmp_path / "b.ewa", latency_seconds=0.001)
    with config.open("a") as stream:
        stream.write(
            f'[[model]]\nname = "plates"\n[model.artifact]\npath = "{a}"\n[model.split]\npath = "{b}"\n'
            '[model.source]\nkind = "directory"\npath = "frames"\nwatch = true\n'
        )
    fleet.offer(null_artifact(tmp_path / "new.ewa", latency_seconds=0.002), counter=1)
    done = command("check", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["updates"]["answer"]
    assert "plates" not in answer, "nothing is desired of it, so there is nothing to say"
    path = fleet.repository.add(
        null_artifact(tmp_path / "next.ewa", latency_seconds=0.003), release_counter=2
    )
    fleet.repository.release("device/dev-1", [], models={"plates": [path]})
    done = command("check", "--config", str(config), "--json")
    answer = json.loads(done.stdout)["updates"]["answer"]
    assert "model plates: plates is not updated while its frames are split" in answer
    assert "Take [model.split] out of agent.toml" in answer


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"garbage", "is no root metadata"),
        ("timestamp.json", "is no root metadata"),
        ("unsigned", "is no root metadata"),
    ],
)
def test_a_wrong_bootstrap_root_is_told_before_the_device_leaves(
    fleet: Fleet, tmp_path: Path, content: bytes | str | None, said: str
) -> None:
    root = tmp_path / "root.json"
    if content == "unsigned":
        document = json.loads(fleet.root.read_bytes())
        document["signatures"] = document["signatures"][:1]
        root.write_text(json.dumps(document))
    elif content is not None:
        root.write_bytes(content if isinstance(content, bytes) else fleet.metadata(content).read_bytes())
    update = {"url": fleet.server.url, "root": str(root), "directory": "updates"}
    done = command("check", "--config", str(config_of(fleet, tmp_path, update=update)))
    assert done.returncode == 2
    assert done.stderr.startswith(f"edgewright-agent: update.root: {root}")
    assert said in done.stderr


def test_a_variant_that_cannot_stand_in_is_told_before_it_is_hot(fleet: Fleet, tmp_path: Path) -> None:
    heat = {"variant_celsius": 70.0, "variant_path": str(onnx_artifact(tmp_path / "other.ewa"))}
    done = command("check", "--config", str(config_of(fleet, tmp_path, heat=heat)), "--json")
    assert done.returncode == 5
    assert "its inputs are not those of small 1.2.0" in json.loads(done.stdout)["heat"]["variant"]
    heat["variant_path"] = str(null_artifact(tmp_path / "small.ewa", latency_seconds=0.001))
    done = command("check", "--config", str(config_of(fleet, tmp_path, heat=heat)), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["heat"]["measures"] == "variant from 70 °C"
