"""`edgewright-agent` as a user meets it: help, check, wrong input, logs, and the end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent import __version__, cli
from device_agent.arguments import command_parser
from tests.integration.support import (
    TELL_THE_END,
    AgentProcess,
    Mosquitto,
    command,
    null_artifact,
    wait_until,
    write_config,
)
from tests.integration.update_repository import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.support import Reader

ROOT = Path(__file__).parents[2]
NO_BROKER = 1


def test_the_version_is_the_distributions() -> None:
    assert command("--version").stdout == f"edgewright-agent {__version__}\n"
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared is not None
    assert declared[1] == __version__


def test_help_has_examples_and_the_exit_status() -> None:
    done = command("--help")
    assert done.returncode == 0
    for text in ("edgewright-agent run --config", "check --config", "exit status:", "5  the artifact"):
        assert text in done.stdout


def test_names_that_would_steer_the_terminal_are_written_out(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[device]\nid = "d"\n"\\u001b[31mred\\u009b" = 1\n')
    done = command("check", "--config", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert "device: \\x1b[31mred\\x9b: unknown." in done.stderr
    path = null_artifact(tmp_path / "\x1b]0;title\x07.ewa")
    done = command("diag", "--config", str(write_config(tmp_path, NO_BROKER, path.with_name("\x1bnone.ewa"))))
    assert "\\x1bnone.ewa" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    agent = AgentProcess(write_config(tmp_path, NO_BROKER, path.with_name("\x1bnone.ewa")))
    assert agent.wait() == 7
    assert "\\x1bnone.ewa" in agent.log
    assert "\x1b" not in agent.log


@pytest.mark.parametrize("form", ["text", "json", "journal"])
def test_no_form_of_the_log_and_no_json_steers_the_terminal(tmp_path: Path, form: str) -> None:
    path = null_artifact(tmp_path / "a.ewa").with_name("\x9b31m.ewa")
    config = write_config(tmp_path, NO_BROKER, path, log={"format": form})
    done = command("diag", "--json", "--config", str(config))
    (found,) = (one for one in json.loads(done.stdout) if one["name"] == "artifact")
    assert str(path) in found["text"]
    agent = AgentProcess(config)
    assert agent.wait() == 7
    for text in (done.stdout, done.stderr, agent.log):
        assert text.replace("\n", "").isprintable()
        assert "31m.ewa" in text or text == done.stderr


@pytest.mark.parametrize("verb", [*cli._COMMANDS, "sensors"])
def test_every_command_has_examples_that_its_parser_takes(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = command_parser()
    with pytest.raises(SystemExit):
        parser.parse_args([verb, "--help"])
    examples = re.findall(r"^  edgewright-agent (.+?)(?:  .*)?$", capsys.readouterr().out, re.MULTILINE)
    assert examples
    for example in examples:
        assert parser.parse_args(example.split()).command == verb


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sysfs-root", "/nosuch"], "--sysfs-root: /nosuch is no folder"),
        (["--proc-root", "/nosuch"], "--proc-root: /nosuch is no folder"),
        (["--vcgencmd", "/nosuch"], "--vcgencmd: /nosuch is no program"),
    ],
)
def test_sensors_of_a_tree_that_is_not_there(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sensors", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_time_that_is_no_number_is_told_as_a_range(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["measure", "--config", "a.toml", "--seconds", "soon"])
    assert "--seconds: expected 0.01 to 86400 seconds, got soon" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["run"], ["walk"], ["run", "--config"], ["check", "--confg", "x"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "check"])
def test_a_wrong_configuration_is_one_line_with_file_and_key(tmp_path: Path, verb: str) -> None:
    config = write_config(tmp_path, NO_BROKER, tmp_path / "a.ewa", mqtt={"prot": 5})
    done = command(verb, "--config", str(config))
    assert done.returncode == 2
    assert done.stderr == "edgewright-agent: agent.toml: mqtt: prot: unknown. Did you mean 'port'?\n"
    done = command(verb, "--config", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def test_check_says_what_there_is_and_changes_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    mosquitto.start()
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        device={"targets": ["x86_64-onnxruntime"]},
    )
    before = sorted(tmp_path.rglob("*"))
    done = command("check", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is True
    assert found["artifact"]["model"] == "small 1.2.0"
    assert found["artifact"]["target checked"] == "yes"
    assert found["engines"]["null"] == "null 1.0"
    assert found["engines"]["onnx"].startswith("onnxruntime ")
    assert found["broker"] == {f"127.0.0.1:{mosquitto.port}": "accepts us, MQTT 3.1.1"}
    assert found["config"]["mqtt"]["port"] == mosquitto.port
    assert found["sensors"]["memory_total_bytes"] > 0
    assert sorted(tmp_path.rglob("*")) == before
    text = command("check", "--config", str(config))
    assert text.returncode == 0
    assert "  model: small 1.2.0" in text.stdout.splitlines()


def test_check_refuses_what_run_would_refuse_and_says_the_rest_all_the_same(tmp_path: Path) -> None:
    artifact = null_artifact(tmp_path / "a.ewa", target="cortex-a-tflite")
    config = write_config(tmp_path, NO_BROKER, artifact, device={"targets": ["x86_64-onnxruntime"]})
    done = command("check", "--config", str(config), "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 5
    assert found["ok"] is False
    assert "cortex-a-tflite" in found["artifact"]["refused"]
    assert "refused" in found["broker"]["127.0.0.1:1"]
    assert done.stderr.startswith("edgewright-agent: small 1.2.0 is for target 'cortex-a-tflite'")


def test_check_does_not_push_a_running_agent_off_the_broker(tmp_path: Path, mosquitto: Mosquitto) -> None:
    mosquitto.start()
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        agent.wait_for_log("connected to")
        assert command("check", "--config", str(config)).returncode == 0
        assert agent.stop() == 0
    assert agent.log.count("connected to") == 1


def test_a_second_agent_on_the_same_spool_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        done = command("run", "--config", str(config))
        assert done.returncode == 7
        assert "another process has it open" in done.stderr
        assert "Traceback" not in done.stderr
        assert agent.stop() == 0


def test_a_missing_password_is_a_wrong_configuration(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        NO_BROKER,
        null_artifact(tmp_path / "a.ewa"),
        mqtt={"username": "u", "password_file": "none"},
    )
    done = command("run", "--config", str(config))
    assert done.returncode == 2
    assert "mqtt.password_file" in done.stderr
    assert not (tmp_path / "spool").exists()


def test_the_password_is_in_no_log(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret-word\n")
    config = write_config(
        tmp_path,
        NO_BROKER,
        null_artifact(tmp_path / "a.ewa"),
        mqtt={"username": "u", "password_file": "secret"},
        log={"level": "debug"},
        source={"max_frames": 30},
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    assert "refused" in agent.log
    assert "s3cret-word" not in agent.log
    assert "s3cret-word" not in command("check", "--config", str(config), "--json").stdout


def test_the_log_as_json_lines(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        NO_BROKER,
        null_artifact(tmp_path / "a.ewa"),
        log={"format": "json"},
        source={"max_frames": 3},
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    lines = [json.loads(line) for line in agent.log.splitlines()]
    assert {"time", "level", "logger", "text"} == set(lines[0])
    assert any(line["text"].startswith("self_test_absent") and line["level"] == "warning" for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_starting_or_running_is_a_good_end(tmp_path: Path, number: signal.Signals) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        agent.wait_for_log("health")
        assert agent.stop(number) == 0
    assert f"stopped by {number.name}" in agent.log


def test_an_engine_that_does_not_come_back_does_not_keep_the_agent(tmp_path: Path) -> None:
    artifact = null_artifact(tmp_path / "a.ewa", latency_seconds=30.0)
    config = write_config(
        tmp_path, NO_BROKER, artifact, spool={"drain_timeout_seconds": 0.5}, source={"rate_hz": 0.0}
    )
    with AgentProcess(config, prelude=TELL_THE_END) as agent:
        agent.wait_for_log("health: up")
        assert agent.stop() == 0
    assert "does not come back" in agent.log
    assert "the interpreter ends" not in agent.log, "the engine's thread would come back into it, and abort"


def test_a_spool_that_cannot_be_written_is_said_and_the_messages_arrive(
    tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    (tmp_path / "way").write_text("in the way")
    config = write_config(
        tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"), spool={"path": "way/spool.db"}
    )
    with AgentProcess(config) as agent:
        reader.wait_for("/e/spool_in_memory")
        health = reader.wait_for("/status/health", lambda line: "in memory" in line.body["reason"])
        assert health.body["status"] == "degraded"
        (tmp_path / "way").unlink()
        reader.wait_for("/e/spool_on_disk")
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        assert agent.stop() == 0
    assert (tmp_path / "way" / "spool.db").is_file()


def test_results_that_cannot_be_written_are_said_and_the_agent_goes_on(
    tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    (tmp_path / "way").write_text("in the way")
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        results={"jsonl": "way/r.jsonl", "max_rate_hz": 20.0},
    )
    with AgentProcess(config) as agent:
        reader.wait_for("/e/results_file_failing")
        reader.wait_for("/e/results_unwritten")
        (tmp_path / "way").unlink()
        reader.wait_for("/e/results_file_works")
        wait_until(lambda: (tmp_path / "way" / "r.jsonl").stat().st_size, what="results")
        assert agent.stop() == 0
    lines = (tmp_path / "way" / "r.jsonl").read_text().splitlines()
    assert all(json.loads(line)["outputs"][0]["form"] == "summary" for line in lines)


# --- check says what run would say ---


def unusable_authority(_folder: Path) -> dict[str, dict[str, object]]:
    return {"mqtt": {"tls_ca": "none.crt"}}


def absent_password_file(_folder: Path) -> dict[str, dict[str, object]]:
    return {"mqtt": {"username": "u", "password_file": "none"}}


def absent_password_variable(_folder: Path) -> dict[str, dict[str, object]]:
    return {"mqtt": {"username": "u", "password_env": "NO_SUCH_VARIABLE"}}


def damaged_root(folder: Path) -> dict[str, dict[str, object]]:
    (folder / "root.json").write_text('{"signed": ')
    return {"update": {"url": "http://localhost:1", "root": "root.json", "directory": "updates"}}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (damaged_root, "update.root"),
        (unusable_authority, "mqtt.tls_ca"),
        (absent_password_file, "mqtt.password_file"),
        (absent_password_variable, "mqtt.password_env"),
    ],
)
def test_check_and_run_refuse_the_same_settings_with_the_same_words(
    tmp_path: Path, make: Callable[[Path], dict[str, dict[str, object]]], says: str
) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), **make(tmp_path))
    run, checked = command("run", "--config", str(config)), command("check", "--config", str(config))
    assert (run.returncode, checked.returncode) == (2, 2)
    assert run.stderr == checked.stderr
    assert checked.stderr.startswith(f"edgewright-agent: {says}")
    assert "  model: small 1.2.0" in checked.stdout, "and the rest all the same"


def test_check_says_where_updates_begin_and_refuses_a_folder_that_cannot_keep_them(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    with contextlib.closing(fleet.server):
        update = {"url": fleet.server.url, "root": str(fleet.root), "directory": "updates"}
        config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), update=update)
        done = command("check", "--config", str(config), "--json")
        found = json.loads(done.stdout)["updates"]
        assert done.returncode == 0
        assert found["root"] == f"{fleet.root}, version 1"
        assert found["directory"].endswith("will be made")
        assert not (tmp_path / "updates").exists()
        (tmp_path / "updates").write_text("in the way")
        done = command("check", "--config", str(config))
    assert done.returncode == 7
    assert done.stderr.startswith("edgewright-agent: update.directory: ")
    assert "no update would be taken" in done.stderr


@pytest.mark.parametrize("path", ["/proc/none/spool.db", ".", "way/spool.db"])
def test_check_refuses_a_spool_that_would_only_be_in_memory(tmp_path: Path, path: str) -> None:
    (tmp_path / "way").write_text("in the way")
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), spool={"path": path})
    done = command("check", "--config", str(config))
    assert done.returncode == 7
    assert done.stderr.startswith("edgewright-agent: spool.path: ")
    assert "messages would wait in memory" in done.stderr


def test_check_tells_results_and_a_status_that_nobody_would_have(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("in the way")
    artifact = null_artifact(tmp_path / "a.ewa")
    for tables, says in (
        ({"results": {"jsonl": "way/results.jsonl"}}, "results.jsonl: "),
        ({"status": {"socket": "way"}}, "status.socket: "),
        ({"spool": {"path": "/dev/null"}}, "spool.path: "),
    ):
        done = command("check", "--config", str(write_config(tmp_path, NO_BROKER, artifact, **tables)))
        assert done.returncode == 7
        assert done.stderr.startswith(f"edgewright-agent: {says}")
    assert (tmp_path / "way").read_text() == "in the way"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_output_that_cannot_be_written_is_one_line(form: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "device_agent", "sensors", *form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 7
    assert done.stderr == "edgewright-agent: standard output: cannot be written: No space left on device.\n"


def test_a_file_where_the_status_socket_should_be_is_left_alone_and_told(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("somebody's")
    tables: dict[str, dict[str, object]] = {"status": {"socket": "way"}, "source": {"max_frames": 3}}
    artifact = null_artifact(tmp_path / "a.ewa")
    done = command("run", "--config", str(write_config(tmp_path, NO_BROKER, artifact, **tables)))
    assert done.returncode == 0
    assert "way: nobody can ask for the status: " in done.stderr
    assert "is no socket, and is left alone" in done.stderr
    assert (tmp_path / "way").read_text() == "somebody's"


@pytest.mark.parametrize("answer", [
    {"agent": {}}, {"agent": {"version": "9"}}, {"agent": {}, "spool": 7}, {"agent": {}, "health": []},
    {"agent": {}, "model": {"name": "x"}}, {"agent": {}, "broker": {"connected": True}},
    {"agent": {"pid": 1, "phase": "running"}, "troubles": [{"time": 1e30}]},
    {"agent": {"pid": 1, "phase": "running"}, "troubles": [{"time": 1e17}]}, {"agent": {}, "updates": {"phase": "idle"}},
])  # fmt: skip
def test_an_answer_of_another_version_is_told_without_a_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: dict[str, object]
) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
    (tmp_path / "spool").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "spool" / "agent.sock"))
        listener.listen()

        def serve() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(json.dumps(answer).encode())

        server = threading.Thread(target=serve)
        server.start()
        ends = {
            verb: cli.main([verb, "--config", str(config), *form])
            for verb, form in (("status", []), ("diag", []), ("status", ["--json"]))
        }
        server.join()
    assert set(ends.values()) <= {0, 7}
    said = capsys.readouterr()
    if answer != {"agent": {}}:
        assert f"the answer is not one of an agent of version {__version__}: " in said.out + said.err


@pytest.mark.parametrize(("verb", "closed", "status"), [
    ("status --json", ">&-", 7), ("status", ">&- 2>&-", 7), ("check --json", ">&-", 0), ("run", "<&- >&- 2>&-", 0),
    ("enrol --token-file -", "<&-", 5), ("enrol --token-file -", "<&- >&- 2>&-", 5),
])  # fmt: skip
def test_standard_streams_that_are_closed_are_no_reason_to_fail(
    tmp_path: Path, verb: str, closed: str, status: int
) -> None:
    tables: dict[str, dict[str, object]] = {
        "mqtt": {"enabled": False}, "identity": {"folder": "identity"}, "source": {"max_frames": 3},
        "results": {"jsonl": "-"} if verb == "run" else {},
    }  # fmt: skip
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), **tables)
    name, _, rest = verb.partition(" ")
    line = f"{sys.executable} -m device_agent {name} --config {config} {rest} {closed}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


def test_a_reader_of_check_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), mqtt={"enabled": False})
    for form in ("", " --json"):
        line = (
            f"{sys.executable} -m device_agent check --config {config}{form} | true; echo ${{PIPESTATUS[0]}}"
        )
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
        )
        assert (done.stdout, done.stderr) == ("0\n", "")


# --- signals ---


def test_a_terminal_that_goes_away_is_a_good_end(tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        assert agent.stop(signal.SIGHUP) == 0
    assert "health: down: stopped by SIGHUP" in agent.log


def test_nohup_is_respected(tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config, before=["nohup"]) as agent:
        agent.wait_for_log("health: up")
        agent.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert agent.process.poll() is None
        assert agent.stop() == 0
    assert "SIGHUP" not in agent.log


SLOW_START = """
import time
import device_agent.log
start_log = device_agent.log.start_log
def slowly(wanted):
    start_log(wanted)
    print("starting", file=__import__("sys").stderr, flush=True)
    time.sleep(1.0)
device_agent.log.start_log = slowly
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_there_is_an_agent_waits_for_it(tmp_path: Path, number: signal.Signals) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config, prelude=SLOW_START) as agent:
        agent.wait_for_log("starting")
        assert agent.stop(number) == 0
    assert "Traceback" not in agent.log
    assert f"health: down: stopped by {number.name}" in agent.log
    assert "engine_loaded" not in agent.log


def test_an_interrupted_check_is_130_and_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        config = write_config(tmp_path, silent.getsockname()[1], null_artifact(tmp_path / "a.ewa"))
        checking = subprocess.Popen(
            [sys.executable, "-m", "device_agent", "check", "--config", str(config)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            checking.send_signal(signal.SIGINT)
            stdout, stderr = checking.communicate(timeout=30)
    assert (checking.returncode, stdout, stderr) == (130, "", "edgewright-agent: interrupted.\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_terminal_cannot_show_are_no_fault(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "wü ❄"
    folder.mkdir()
    config = write_config(folder, NO_BROKER, null_artifact(folder / "a.ewa"))
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    for verb, option in (
        ("check", "--json"),
        ("check", "--config"),
        ("diag", "--json"),
        ("diag", "--config"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "device_agent", verb, option, *(["--config"] if option == "--json" else []), str(config)],
            cwd=ROOT, env=environment, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == (0 if verb == "check" else 7)
        assert b"Traceback" not in done.stderr
        if option == "--json":
            assert "wü ❄" in str(json.loads(done.stdout.decode(encoding)))


# --- nothing is lost without a word ---


def test_messages_that_no_disk_and_no_broker_took_are_said_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("in the way")
    config = write_config(
        tmp_path,
        NO_BROKER,
        null_artifact(tmp_path / "a.ewa"),
        spool={"path": "way/spool.db"},
        source={"max_frames": 30},
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    (line,) = [line for line in agent.log.splitlines() if "messages are lost" in line]
    assert "WARNING" in line
    assert re.search(r" [1-9]\d* messages are lost: they were not delivered, and .*way/spool.db cannot", line)


def test_messages_that_wait_for_the_next_start_are_said_too(tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), source={"max_frames": 3})
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    assert re.search(r" [1-9]\d* messages wait in .*spool.db for the next start", agent.log)
    assert "are lost" not in agent.log


def test_results_in_a_file_alone_have_numbers_of_their_own(
    tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        results={"jsonl": "r.jsonl", "max_rate_hz": 0.0},
        source={"max_frames": 40},
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    written = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [line["seq"] for line in written] == list(range(40))
    (run_id,) = {line["boot_id"] for line in written}
    heard = [line.body for line in reader.lines() if "boot_id" in line.body]
    assert {body["boot_id"] + "-local" for body in heard} == {run_id}
    assert {body["seq"] for body in heard} == set(range(max(body["seq"] for body in heard) + 1))


def test_results_that_a_full_disk_did_not_take_are_not_said_to_have_come_too_fast(
    tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        results={"jsonl": "/dev/full", "max_rate_hz": 20.0},
    )
    with AgentProcess(config) as agent:
        said = reader.wait_for("/e/results_unwritten").body
        assert agent.stop() == 0
    reader.close()
    assert "No space left on device" in said["text"]
    assert said["details"]["unwritten"] > 0
    assert reader.about("/e/results_dropped") == []


def test_who_stops_reading_the_results_holds_up_neither_messages_nor_the_end(
    tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        results={"jsonl": "-", "max_rate_hz": 0.0},
        source={"rate_hz": 1000.0},
    )
    read, write = os.pipe()
    with AgentProcess(config, stdout=write) as agent:
        os.close(write)
        said = reader.wait_for("/e/results_unwritten").body
        assert agent.stop() == 0
    reader.close()
    os.close(read)
    assert "who reads it is too slow, or has stopped" in said["text"]


def test_a_spool_that_is_removed_while_running_is_made_anew(
    tmp_path: Path, mosquitto: Mosquitto, listen: Callable[..., Reader]
) -> None:
    reader = listen(mosquitto.start().port)
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        shutil.rmtree(tmp_path / "spool")
        said = reader.wait_for("/e/spool_on_disk").body
        assert (tmp_path / "spool" / "spool.db").is_file()
        assert agent.stop() == 0
    reader.close()
    assert "was removed" in said["text"]
