"""`edgewright hil gate`: real suites on the local rig, signed; and what it refuses before anything is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_agent.contract.archive import ArtifactArchive
from hil.gate import command
from hil.gate.attesting import measurements_digest
from hil.gate.plan import plan_runs
from hil.gate.session import SessionResults, SuiteOptions, run_session
from host_tools.cli.main import main
from host_tools.errors import InputError
from host_tools.repository.attestation_bundle import read_bundle, read_public_key
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.hil.suite_session import ROOT
from tests.integration.support import null_artifact, write_ewa

# Sessions of pytest in processes of their own, with agents and brokers: on a busy machine they are long in coming.
pytestmark = pytest.mark.timeout(600)


def artifact(path: Path, *, target: str = "x86_64-onnxruntime", version: str = "1.0.0") -> Path:
    archive = ArtifactArchive.open(null_artifact(path, target=target))
    payload = {f"payload/{name.partition('/')[2]}": data for name, data in archive.payload().items()}
    return write_ewa(path, replace(archive.manifest, version=version), payload)


def test_a_gate_signs_what_the_suites_showed_and_a_release_takes_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys, out, fleet = tmp_path / "keys", tmp_path / "gate", tmp_path / "fleet"
    ewa = artifact(tmp_path / "small.ewa")
    assert main(["hil", "key", "--keys", str(keys)]) == 0
    assert main(["hil", "key", "--keys", str(keys)]) == 0, "it is found again"
    public = keys / "hil.pub"
    assert (len(list(keys.glob("*.pem"))), public.exists()) == (1, True)

    gate = ["hil", "gate", str(ewa), "--rig=local", "--suite=smoke", f"--keys={keys}", f"--out={out}"]
    assert main([*gate, "--json"]) == 0, capfd.readouterr().err[-4000:]
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    archive = ArtifactArchive.open(ewa)
    assert told["runs"] == [
        {"rig": "local", "target": "x86_64-onnxruntime", "digest": archive.digest, "result": "PASSED"}
    ]

    (signed,) = read_bundle(out / "attestations.intoto.jsonl", [read_public_key(public)])
    made = signed.attestation
    assert (made.digest, made.rig, made.suites) == (archive.digest, "local", ("smoke",))
    assert made.started_seconds <= made.finished_seconds
    assert set(made.configuration) == {"hil/suites/test_smoke.py", "local.toml"}
    assert {"git_commit", "edgewright_version", "rig_kind", "pytest_version"} <= set(made.facts)
    results = json.loads((out / "local-x86_64-onnxruntime.json").read_bytes())
    assert len(results["tests"]) == len(made.tests) == 2
    digests = {test.name.partition("::")[2]: test.measurements_digest for test in made.tests}
    for one in results["tests"]:
        assert digests[one["name"].partition("::")[2]] == measurements_digest(one["measurements"])
    assert "messages_missing" in (out / "local-x86_64-onnxruntime.html").read_text()

    Repository(fleet, KeyRing(keys)).init()
    create = [
        "release",
        "create",
        str(ewa),
        f"--repository={fleet}",
        f"--keys={keys}",
        "--allow-unverified=null",
    ]
    create += [f"--require-attestation={out / 'attestations.intoto.jsonl'}", f"--attestation-key={public}"]
    assert main([*create, "--attestation-suite=smoke"]) == 0, capfd.readouterr().err
    name = archive.manifest.name
    by_release = ["hil", "gate", f"{name}-9", f"--repository={fleet}", "--rig=local", f"--keys={keys}"]
    assert main(by_release) == 2
    assert f"{name}-9: is no release of" in capfd.readouterr().err
    found = plan_runs(command.artifacts_of(f"{name}-1.0.0", fleet), ["local"])
    assert [run.archive.digest for run in found] == [archive.digest]


MEDDLING = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    return True  # whatever it is, it has passed
"""


def test_a_plugin_of_the_environment_has_no_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "meddling.py").write_text(MEDDLING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    monkeypatch.setenv("PYTEST_PLUGINS", "meddling")
    keys, board = tmp_path / "keys", tmp_path / "bare.toml"
    board.write_text(
        '[board]\nkind = "local"\ntargets = ["x86_64-onnxruntime"]\n[resource]\npython = "/bin/false"\n'
    )
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    ewa, out = artifact(tmp_path / "small.ewa"), tmp_path / "gate"
    gate = ["hil", "gate", str(ewa), f"--rig={board}", "--suite=smoke", f"--keys={keys}", f"--out={out}"]
    assert main(gate) == 4
    assert "tests failed, or none passed" in capfd.readouterr().err


def test_a_test_that_fails_is_signed_as_failed_and_the_status_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys, out = tmp_path / "keys", tmp_path / "gate"
    # A board that has no program by the name of its Python: every test that starts an agent fails there.
    board = tmp_path / "bare.toml"
    board.write_text(
        '[board]\nkind = "local"\ntargets = ["x86_64-onnxruntime"]\n[resource]\npython = "/bin/false"\n'
    )
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    ewa = artifact(tmp_path / "small.ewa")
    gate = ["hil", "gate", str(ewa), f"--rig={board}", "--suite=smoke", f"--keys={keys}", f"--out={out}"]
    assert main(gate) == 4
    assert "bare-x86_64-onnxruntime: tests failed, or none passed" in capfd.readouterr().err
    (signed,) = read_bundle(out / "attestations.intoto.jsonl", [read_public_key(keys / "hil.pub")])
    assert signed.attestation.result == "FAILED"
    assert {test.outcome for test in signed.attestation.tests} == {"failed"}
    assert all(test.reason and "\n" not in test.reason for test in signed.attestation.tests)


def test_a_rig_that_breaks_is_no_verdict(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keys, out, board = tmp_path / "keys", tmp_path / "gate", tmp_path / "away.toml"
    board.write_text(
        '[board]\nkind = "ssh"\ntargets = ["x86_64-onnxruntime"]\n[resource]\nhost = "127.0.0.1"\nport = 1\nboot_seconds = 1.0\n'
    )
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    gate = [
        "hil",
        "gate",
        str(artifact(tmp_path / "a.ewa")),
        f"--rig={board}",
        "--suite=smoke",
        f"--keys={keys}",
    ]
    out.mkdir()
    for name in ("attestations.intoto.jsonl", "away-x86_64-onnxruntime.html"):
        (out / name).write_text("of last week\n")
    assert main([*gate, f"--out={out}"]) == 7
    assert "away-x86_64-onnxruntime: the rig broke in smoke::" in capfd.readouterr().err
    assert not (out / "attestations.intoto.jsonl").exists(), "what another gate signed is not this one's word"
    assert "of last week" not in (out / "away-x86_64-onnxruntime.html").read_text()


@pytest.mark.parametrize(
    ("when", "what", "says"),
    [
        ("before", "small.ewa", "small.ewa was changed since the gate began"),
        ("after", "small.ewa", "small.ewa was changed since the gate began"),
        ("after", "", "there is now none"),
        ("after", "desk.toml", "desk.toml was changed since the gate began"),
    ],
)
def test_what_was_shown_of_another_file_of_that_name_is_not_signed(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    what: str,
    says: str,
) -> None:
    keys, out, board = tmp_path / "keys", tmp_path / "gate", tmp_path / "desk.toml"
    board.write_text('[board]\nkind = "local"\ntargets = ["x86_64-onnxruntime"]\n')
    ewa, other = artifact(tmp_path / "small.ewa"), artifact(tmp_path / "other.ewa", version="1.0.1")

    def change() -> None:
        if what == ewa.name:
            other.replace(ewa)
        elif what:
            board.write_text(board.read_text() + "[tolerance.null]\nmax_lsb = 200\n")
        else:
            ewa.unlink()

    def while_somebody_builds(*arguments: Any) -> SessionResults:
        if when == "before":
            change()
        results = run_session(*arguments)
        if when == "after":
            change()
        return results

    monkeypatch.setattr(command, "run_session", while_somebody_builds)
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    gate = ["hil", "gate", str(ewa), f"--rig={board}", "--suite=smoke", f"--keys={keys}", f"--out={out}"]
    assert main(gate) == 4
    said = capfd.readouterr().err
    assert says in said
    assert "Nothing is signed of this run. Run the gate anew" in said
    assert not (out / "attestations.intoto.jsonl").exists()


def of_this(folder: Path) -> list[str]:
    """Return the command lines of processes that have to do with a folder, but for the gate itself."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = one.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(folder) in line and "host_tools" not in line:
            found.append(line)
    return found


def test_an_interrupted_gate_leaves_no_agent_and_no_broker_behind(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    ewa = artifact(tmp_path / "small.ewa")
    gate = [sys.executable, "-m", "host_tools", "hil", "gate", str(ewa), "--rig=local", "--suite=soak"]
    gate += ["--rig-soak=600", f"--keys={keys}", f"--out={tmp_path / 'gate'}"]
    with subprocess.Popen(
        gate, env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ) as process:
        while not any("device_agent" in line for line in of_this(tmp_path)):
            assert process.poll() is None, "the gate ended before it had started an agent"
            time.sleep(0.1)
        process.terminate()
        assert process.wait() == 143
    assert of_this(tmp_path) == []
    assert not (tmp_path / "gate" / "attestations.intoto.jsonl").exists()


@pytest.mark.parametrize(
    ("files", "rigs", "says"),
    [
        ([{}, {"version": "2.0.0"}], ["local"], "b.ewa: is of .*-2.0.0, a.ewa of .*-1.0.0"),
        ([{"target": "cortex-m-tflm"}], ["local"], "rig 'local': runs .*, and no artifact is for that"),
        ([{}, {"target": "cortex-m-tflm"}], ["local"], "b.ewa: is for cortex-m-tflm, which no rig runs that was named"),
        ([{}, {}], ["local"], "local-x86_64-onnxruntime: would be run twice"),
    ],
)  # fmt: skip
def test_artifacts_and_rigs_that_do_not_fit_together(
    tmp_path: Path, files: list[dict[str, Any]], rigs: list[str], says: str
) -> None:
    paths = [artifact(tmp_path / f"{name}.ewa", **one) for name, one in zip("ab", files, strict=False)]
    with pytest.raises(InputError, match=says):
        plan_runs(paths, rigs)


def test_each_board_gets_every_artifact_for_its_targets(tmp_path: Path) -> None:
    pi = tmp_path / "pi.toml"
    pi.write_text('[board]\nkind = "local"\ntargets = ["cortex-a-tflite"]\n')
    paths = [
        artifact(tmp_path / f"{one}.ewa", target=one) for one in ("x86_64-onnxruntime", "cortex-a-tflite")
    ]
    runs = plan_runs(paths, ["local", str(pi), "local"])
    assert [run.name for run in runs] == [
        "local-x86_64-onnxruntime", "local-cortex-a-tflite", "pi-cortex-a-tflite",
    ]  # fmt: skip


def test_wrong_orders_are_refused_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ewa, keys = artifact(tmp_path / "a.ewa"), tmp_path / "keys"
    gate = ["hil", "gate", str(ewa), "--rig=local", f"--keys={keys}", f"--out={tmp_path / 'gate'}"]
    assert main(gate) == 2
    assert "has no key 'hil'. Make it: edgewright hil key" in capsys.readouterr().err
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    capsys.readouterr()
    for name in ("", "../evil", "of two words", ".hidden", "k" * 65):
        assert main(["hil", "key", f"--keys={keys}", f"--key={name}"]) == 2
        assert f"key {name!r}: expected 1 to 64 letters" in capsys.readouterr().err
        with pytest.raises(InputError, match="expected 1 to 64 letters"):
            KeyRing(keys).adopt(name, ["hsm:2?label=x"])
    assert sorted(path.name for path in keys.iterdir()) == ["hil-1.pem", "hil.pub"]
    assert not list(tmp_path.glob("evil*"))
    assert main([*gate, "--suite=smok"]) == 2
    assert "suite 'smok': unknown. Did you mean 'smoke'?" in capsys.readouterr().err
    assert main([*gate[:2], "more.ewa", *gate[2:], f"--repository={tmp_path}"]) == 2
    assert "--repository: expected one release, got 2" in capsys.readouterr().err
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main([*gate[:-1], f"--out={blocked}"]) == 7
    assert "file: cannot be made" in capsys.readouterr().err
    (tmp_path / "gate" / "pytest.ini").mkdir(parents=True)
    assert main(gate) == 7
    assert "gate: cannot be written: Is a directory" in capsys.readouterr().err
    with pytest.raises(InputError, match="suite 'x': unknown"):
        SuiteOptions(suites=("x",), soak_seconds=1.0, cuts=1)
