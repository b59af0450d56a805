"""`edgewright watch` and `report` as a user starts them, against a real broker and real agents."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from device_agent.contract.errors import TransferError
from device_agent.contract.telemetry.codec import encode
from host_tools.errors import InputError
from host_tools.review import listener as listening
from host_tools.review.broker_address import TlsFiles, parse_broker
from host_tools.review.history import History
from host_tools.review.listener import listen
from tests.integration.support import (
    AgentProcess,
    Mosquitto,
    null_artifact,
    publish,
    wait_until,
    write_config,
)
from tests.unit.host_tools.review.telemetry_messages import birth, event, window

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TOPIC = "ew/v1/device/lab-1///m/inference"
BURST = 10_000
OVER = "ew/v1/device/lab-2///e/over"
"""Of another device, so that it is no number of the burst's."""


@contextmanager
def edgewright(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process at 80 columns; it ends with the block at the latest."""
    with subprocess.Popen(
        [sys.executable, "-m", "host_tools", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(*arguments: str) -> tuple[int, str, str]:
    with edgewright(*arguments) as process:
        output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def fake_machine(root: Path) -> Path:
    """A ``/sys`` with an energy counter and a battery that is discharged at 18 W."""
    files = {
        "class/powercap/intel-rapl:0/name": "package-0",
        "class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
        "class/powercap/intel-rapl:0/energy_uj": "1000000",
        "class/power_supply/BAT0/type": "Battery",
        "class/power_supply/BAT0/status": "Discharging",
        "class/power_supply/BAT0/power_now": "18000000",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root / "class/powercap/intel-rapl:0/energy_uj"


@contextmanager
def counting(energy: Path, *, watts: float) -> Iterator[None]:
    """A RAPL counter that runs by the clock until the agent has ended, so that its last window sees power too."""
    ended, start = threading.Event(), time.monotonic()

    def count() -> None:
        while not ended.wait(0.01):
            replaced = energy.with_suffix(".new")
            replaced.write_text(f"{int((time.monotonic() - start) * watts * 1e6)}\n")
            replaced.replace(energy)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        yield
    finally:
        ended.set()
        counter.join()


def test_an_agents_energy_is_shown_as_power_in_watch_and_report(tmp_path: Path, mosquitto: Mosquitto) -> None:
    port = mosquitto.start().port
    energy = fake_machine(tmp_path / "sys")
    config = write_config(
        tmp_path, port, null_artifact(tmp_path / "a.ewa"),
        device={"targets": ["x86_64-onnxruntime"]}, sensors={"sysfs_root": str(tmp_path / "sys")},
        telemetry={"interval_seconds": 1.0},  # so long that a busy machine's late counts are a small part
    )  # fmt: skip
    record = tmp_path / "r.jsonl"
    with edgewright("watch", f"mqtt://127.0.0.1:{port}", "--record", str(record)) as watch:
        wait_until(record.is_file, what="watch listens")
        with counting(energy, watts=10.0), AgentProcess(config) as agent:
            wait_until(lambda: record.read_text().count("/m/power") > 3, what="an agent's power")
            time.sleep(0.5)  # half a window, so that the last one is long enough to see power
            assert agent.stop() == 0
        wait_until(lambda: "stopped by SIGTERM" in record.read_text(), what="the goodbye")
        watch.send_signal(signal.SIGINT)
        shown, errors = watch.communicate(timeout=120)
    assert watch.returncode == 0, errors
    watts = re.search(r"([0-9.]+) package_0", shown)
    assert watts is not None, shown
    assert 5.0 < float(watts[1]) < 20.0
    assert "−18.0 W from battery" in shown
    assert max(map(len, shown.splitlines())) <= 80

    page = tmp_path / "page.html"
    status, counts, errors = run("report", "--from", str(record), "--out", str(page), "--json")
    assert status == 0, errors
    assert json.loads(counts)["devices"] == 1
    assert json.loads(counts)["missing"] == 0
    assert "Power: package_0 (by energy)" in page.read_text()
    assert "supply_bat0" in page.read_text()


def test_a_hostile_device_neither_ends_nor_commands_a_watch(tmp_path: Path, mosquitto: Mosquitto) -> None:
    port = mosquitto.start().port
    address = f"mqtt://127.0.0.1:{port}"
    subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-r", "-q", "1", "-s",
         "-t", "ew/v1/device/lab-1/service/agent/status/birth"],
        input=encode(birth(1, model="[/red]", engine="[/]")), check=True,
    )  # fmt: skip
    record = tmp_path / "r.jsonl"
    with edgewright("watch", address, "--record", str(record)) as watch:
        wait_until(record.is_file, what="watch listens")
        hostile = event(2, "\x1b]0;PWNED\x07\x1b[2J[/red]")
        publish(port, "ew/v1/device/lab-1///e/model_loaded", encode(hostile))
        wait_until(lambda: "PWNED" in record.read_text(), what="the event")
        watch.send_signal(signal.SIGINT)
        shown, errors = watch.communicate(timeout=120)
    assert watch.returncode == 0, errors
    assert "[/red] 1.0.0" in shown
    assert "PWNED" in shown
    assert "\x1b" not in shown


def send_burst(port: int, *, pause_seconds: float) -> None:
    """`BURST` numbered messages, as fast as one publisher can, with a breath after every tenth."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    body = json.loads(encode(window(0)))
    sent = None
    for number in range(BURST):
        body["seq"], body["uptime_seconds"] = number, float(number)
        sent = client.publish(TOPIC, json.dumps(body), qos=0)
        if number % (BURST // 10) == 0:
            time.sleep(pause_seconds)
    assert sent is not None
    sent.wait_for_publish(120)
    client.disconnect()
    client.loop_stop()


@pytest.mark.slow
def test_a_burst_is_recorded_whole(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Under load Mosquitto itself drops a few of QoS 0: whatever it lets through is recorded, and the holes are told."""
    port = mosquitto.start().port
    record = tmp_path / "r.jsonl"
    with edgewright("watch", f"mqtt://127.0.0.1:{port}", "--record", str(record)) as watch:
        wait_until(record.is_file, what="watch listens")
        send_burst(port, pause_seconds=0.3)
        while OVER not in record.read_text():  # what was sent before it is recorded before it, or never
            assert watch.poll() is None
            publish(port, OVER, encode(event(1, "over")))
            time.sleep(1.0)
        watch.send_signal(signal.SIGINT)
        shown, errors = watch.communicate(timeout=120)
    assert watch.returncode == 0, errors
    assert "thrown away" not in shown + errors
    lines = [json.loads(line) for line in record.read_text("utf-8").splitlines()]
    numbers = {json.loads(line["payload"])["seq"] for line in lines if line["topic"] == TOPIC}
    holes = max(numbers) - min(numbers) + 1 - len(numbers)
    told = re.search(r"(\d+) messages? sent and never heard", " ".join(shown.split()))
    assert (int(told[1]) if told else 0) == holes
    assert len(numbers) > 0.99 * BURST


def test_what_is_dropped_is_counted_and_told(monkeypatch: pytest.MonkeyPatch, mosquitto: Mosquitto) -> None:
    monkeypatch.setattr(listening, "_MAILBOX_BYTES", 10_000)
    port = mosquitto.start().port
    history = History()
    with listen(parse_broker(f"mqtt://127.0.0.1:{port}"), root="ew/v1") as listener:
        for number in range(60):
            publish(port, TOPIC, encode(window(number)))
        wait_until(lambda: listener.dropped, what="the mailbox is full")
        for delivery in listener.waiting():
            history.add(delivery)
        publish(port, TOPIC, encode(window(60)))
        for delivery in listener.deliveries(seconds=1.0):
            if delivery is not None:
                history.add(delivery)
        assert 0 < listener.dropped < 60
        assert history.devices["lab-1"].missing_count == listener.dropped


def test_what_came_before_the_end_is_taken(mosquitto: Mosquitto) -> None:
    port = mosquitto.start().port
    with listen(parse_broker(f"mqtt://127.0.0.1:{port}"), root="ew/v1") as listener:
        for number in range(5):
            publish(port, TOPIC, encode(window(number)))
        wait_until(lambda: len(listener._mailbox) == 5, what="all five are here")
        taken = [one for one in listener.deliveries(seconds=0.0) if one is not None]
    assert len(taken) == 5


def test_a_cut_recording_is_reported_with_a_warning(tmp_path: Path) -> None:
    line = json.dumps({"received": 1_700_000_000.0, "topic": TOPIC, "payload": encode(window(1)).decode()})
    record = tmp_path / "cut.jsonl"
    record.write_text(f"{line}\n{line[:-40]}")
    status, output, errors = run("report", "--from", str(record), "--out", str(tmp_path / "p.html"))
    assert status == 0
    assert "inference_windows: 1" in output
    assert "cut.jsonl:2: the line was cut" in errors
    assert "cut.jsonl:2: the line was cut" in (tmp_path / "p.html").read_text()


def test_passwords_of_any_characters_and_none_of_them_in_a_page(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "a@b", "p@ss:/%"], check=True)
    broker = Mosquitto(tmp_path / "b", "allow_anonymous false", f"password_file {passwords}").start()
    try:
        with (
            pytest.raises(TransferError, match="refused: Not authorized"),
            listen(parse_broker(f"mqtt://a%40b:wrong@127.0.0.1:{broker.port}"), root="ew/v1"),
        ):
            pass
        origin = f"mqtt://a%40b:p%40ss%3A%2F%25@127.0.0.1:{broker.port}"
        status, output, errors = run("report", "--from", origin, "--seconds", "0")
        assert status == 2, errors  # let in; nobody has spoken
        assert "no telemetry below" in errors
        assert "ss%3A" not in output + errors
    finally:
        broker.stop()


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private authority, a server on 127.0.0.1 and a client that it vouches for."""
    folder = tmp_path_factory.mktemp("certificates")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(folder, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=authority")  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(
            folder, "req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "names")  # fmt: skip
        (folder / f"{name}.key").chmod(0o644)
    folder.chmod(0o755)
    return folder


@pytest.fixture
def tls_broker(tmp_path: Path, certificates: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(
        tmp_path / "tls",
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/server.pem",
        f"keyfile {certificates}/server.key",
        "require_certificate true",
        "allow_anonymous true",
    )
    yield broker.start()
    broker.stop()


def test_a_private_authority_and_a_clients_certificate(tls_broker: Mosquitto, certificates: Path) -> None:
    address = f"mqtts://127.0.0.1:{tls_broker.port}"
    ca, cert, key = (str(certificates / name) for name in ("ca.pem", "client.pem", "client.key"))
    status, output, errors = run(
        "watch", address, "--seconds", "0.5", "--ca", ca, "--cert", cert, "--key", key
    )
    assert status == 0, errors
    assert "No device has spoken yet." in output


# paho does not close the socket of a handshake that failed, and leaves it to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_the_right_files_the_message_says_which_option(
    tls_broker: Mosquitto, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_CONNECT_TIMEOUT_SECONDS", 1.0)
    address = parse_broker(f"mqtts://127.0.0.1:{tls_broker.port}")
    with pytest.raises(TransferError, match="--ca FILE"), listen(address, root="ew/v1"):
        pass
    tls = TlsFiles(authority=certificates / "ca.pem")
    with pytest.raises(TransferError, match="--cert FILE"), listen(address, root="ew/v1", tls=tls):
        pass


@pytest.mark.parametrize(
    ("address", "files", "expected"),
    [
        ("mqtts://127.0.0.1:1", {"authority": "none.pem"}, "none.pem: no such file"),
        ("mqtts://127.0.0.1:1", {"authority": "garbage.pem"}, "garbage.pem: cannot be used"),
        ("mqtts://127.0.0.1:1", {"key": "garbage.pem"}, "Give --cert too"),
        ("mqtt://127.0.0.1:1", {"authority": "garbage.pem"}, "Write mqtts://"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, address: str, files: dict[str, str], expected: str
) -> None:
    (tmp_path / "garbage.pem").write_text("not a certificate\n")
    tls = TlsFiles(**{kind: tmp_path / name for kind, name in files.items()})
    with pytest.raises(InputError, match=expected), listen(parse_broker(address), root="ew/v1", tls=tls):
        pass


@pytest.mark.parametrize(
    "arguments",
    ["watch mqtt://127.0.0.1", "report --from x.jsonl --json", "convert m.onnx --data d --out o --target t"],
)
def test_without_the_hosts_packages_one_line_says_what_to_install(arguments: str) -> None:
    code = (
        "import sys\n"
        "for name in ('rich', 'onnx', 'jinja2', 'matplotlib'): sys.modules[name] = None\n"
        "from host_tools.cli.main import main\n"
        f"sys.exit(main({arguments.split()!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "pip install 'edgewright[host]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("reader", ["true", "head -1"])
@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "",
        "watch --help",
        "watch mqtt://127.0.0.1:{port} --seconds 0.5",
        "watch mqtt://127.0.0.1:{port} --seconds 2 --json",
    ],
)
def test_a_reader_that_goes_away_is_no_failure(arguments: str, reader: str, mosquitto: Mosquitto) -> None:
    port = mosquitto.start().port
    command = (
        f"{sys.executable} -m host_tools {arguments.format(port=port)} | {reader}; exit ${{PIPESTATUS[0]}}"
    )
    # Unbuffered, as some test environments are, nothing would be left to write when Python ends.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    number = 0
    while "--json" in arguments and process.poll() is None:
        publish(port, TOPIC, encode(window(number)))
        number += 1
        time.sleep(0.1)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (0 if arguments else 2, 0)
    assert errors == ""
