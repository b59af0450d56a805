"""A real broker on loopback (Debian's mosquitto), a real reader (mosquitto_sub), real artifacts, and the agent as a process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from device_agent.contract.archive import member_of, write_archive
from device_agent.contract.manifest import GoldenSample, Heat, Manifest, PayloadTensor, Requires, Tolerance
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_SECONDS = 60.0
WAIT_SECONDS = 120.0
PROBE_TOPIC = "ew/v1/probe"
TARGET = "x86_64-onnxruntime"
LIBRARIES = {"null": {"null": "1.0"}, "onnx": {"onnxruntime": "1.18"}}
_DIGEST = "sha256:" + "0" * 64


def wait_until(claim: Callable[[], Any], *, what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Return the first truthy value of ``claim``; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = claim()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Mosquitto:
    """A broker that can be stopped and started again on its port; sessions and retained messages survive on disk."""

    def __init__(self, folder: Path, *extra: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.folder = folder
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "user root",
        ]
        lines += list(extra) or ["allow_anonymous true"]
        # The reader's mail-box while it is away; the default, 1,000, drops messages silently beyond.
        self._config.write_text("\n".join([*lines, "max_queued_messages 100000", ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: can_connect(self.port), what="mosquitto listens", seconds=START_SECONDS)
        return self

    def reload(self) -> None:
        """Let it read certificates, lists and rules anew."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End it without a chance to save anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(START_SECONDS)
        self._process = None


def can_connect(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.3):
        return True
    return False


@dataclass(frozen=True)
class Line:
    """One message as the reader got it."""

    retained: bool
    topic: str
    payload: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The envelope and the rest; an event's is in ``data``."""
        document = json.loads(self.payload)
        return document.get("data", document)

    @property
    def key(self) -> tuple[str, int]:
        return self.body["boot_id"], self.body["seq"]


class Reader:
    """``mosquitto_sub`` with a session that the broker keeps, writing every message as one line."""

    def __init__(self, port: int, file: Path, *, version: str = "mqttv311", topic: str = "ew/v1/#") -> None:
        self._file = file
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-V", version, "-t", topic, "-q", "1"]
        command += ["-i", f"reader-{file.name}", "-c", "-F", "%r|%t|%p"]
        command += ["-T", "ew/v1/device/+/+/+/i/+"]  # frames are bytes, not lines
        self._stream = file.open("ab")
        self._process = subprocess.Popen(command, stdout=self._stream, stderr=subprocess.DEVNULL)

    def wait_until_subscribed(self, port: int) -> Reader:
        wait_until(lambda: self._hears(port), what="mosquitto_sub is subscribed")
        return self

    def _hears(self, port: int) -> bool:
        publish(port, PROBE_TOPIC, b"{}")
        return PROBE_TOPIC.encode() in self._file.read_bytes()

    def lines(self) -> list[Line]:
        found = []
        for line in self._file.read_bytes().split(b"\n")[:-1]:
            retained, topic, payload = line.split(b"|", 2)
            if topic != PROBE_TOPIC.encode():
                found.append(Line(retained == b"1", topic.decode(), payload))
        return found

    def about(self, ending: str) -> list[Line]:
        return [line for line in self.lines() if line.topic.endswith(ending)]

    def wait_for(self, ending: str, claim: Callable[[Line], bool] = lambda _: True) -> Line:
        found = wait_until(lambda: [line for line in self.about(ending) if claim(line)], what=ending)
        return found[0]

    def close(self) -> None:
        """Stop listening; what was heard stays. Calling twice is harmless."""
        self._process.terminate()
        self._process.wait(START_SECONDS)
        self._stream.close()


def retained(port: int, topic: str) -> Line:
    """Return the message that a newcomer gets."""
    command = [
        "mosquitto_sub",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-t",
        topic,
        "-C",
        "1",
        "-W",
        "60",
        "-F",
        "%r|%t|%p",
    ]
    output = subprocess.run(command, capture_output=True, timeout=90, check=True).stdout
    flag, name, payload = output.rstrip(b"\n").split(b"|", 2)
    return Line(flag == b"1", name.decode(), payload)


def publish(port: int, topic: str, payload: bytes, *, retain: bool = False) -> None:
    command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1"]
    command += ["-r"] if retain else []
    subprocess.run([*command, "-s" if payload else "-n"], input=payload, timeout=90, check=True)


def certificate(folder: Path, name: str, *, issuer: str | None) -> None:
    """Make ``name.key`` and ``name.crt``, signed by ``issuer`` or by itself."""
    key, request, made = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.crt"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    new = [
        "openssl",
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        str(key),
    ]
    if issuer is None:
        subprocess.run(
            [*new, "-x509", "-days", "2", "-subj", f"/CN={name}", "-out", str(made)],
            check=True,
            capture_output=True,
        )
        return
    subprocess.run([*new, *subject, "-out", str(request)], check=True, capture_output=True)
    sign = [
        "openssl",
        "x509",
        "-req",
        "-in",
        str(request),
        "-days",
        "2",
        "-copy_extensions",
        "copy",
        "-CAcreateserial",
    ]
    authority = ["-CA", str(folder / f"{issuer}.crt"), "-CAkey", str(folder / f"{issuer}.key")]
    subprocess.run([*sign, *authority, "-out", str(made)], check=True, capture_output=True)


# --- artifacts ---


def float_tensor(name: str, shape: tuple[int, ...]) -> PayloadTensor:
    return PayloadTensor(
        name=name,
        shape=shape,
        dtype="float32",
        scale=None,
        zero_point=None,
        source_name=name,
        source_axes=tuple(range(len(shape))),
    )


def manifest_of(
    payload: Mapping[str, bytes],
    *,
    engine: str,
    inputs: Sequence[PayloadTensor],
    outputs: Sequence[PayloadTensor],
    form: str = "null",
    target: str = TARGET,
) -> Manifest:
    return Manifest(
        name="small",
        version="1.2.0",
        target=target,
        profile_digest=_DIGEST,
        model_digest=_DIGEST,
        data_digest=_DIGEST,
        format=form,
        requires=Requires(
            target=target, engine=engine, engine_min_versions=LIBRARIES[engine], agent_min_version="0.1.0"
        ),
        payload=tuple(member_of(name, data) for name, data in payload.items()),
        members=(),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        preprocessing=None,
        golden=(),
        tolerance=Tolerance(max_lsb=1, min_share_within_one=0.99, absolute=1e-5),
        verdict="pass",
        made_with={"edgewright": "0.1.0"},
    )


def write_ewa(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> Path:
    with path.open("wb") as stream:
        write_archive(stream, manifest, members)
    return path


def null_artifact(
    path: Path,
    *,
    latency_seconds: float = 0.002,
    target: str = TARGET,
    heat: Heat | None = None,
    processor_features: tuple[str, ...] = (),
    manifest_features: tuple[str, ...] = (),
) -> Path:
    """An artifact for the null engine: needs no inference library and no numpy."""
    outputs = [{"name": "y", "size_bytes": 40}]
    document = {"inputs": ["x"], "outputs": outputs, "latency_seconds": latency_seconds}
    payload = {"payload/null.json": json.dumps(document).encode()}
    shape = (1, 10)
    manifest = manifest_of(
        payload,
        engine="null",
        inputs=[float_tensor("x", shape)],
        outputs=[float_tensor("y", shape)],
        target=target,
    )
    requires = replace(
        manifest.requires, processor_features=processor_features, manifest_features=manifest_features
    )
    return write_ewa(path, replace(manifest, heat=heat, requires=requires), payload)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def tiny_qdq_model(*, broken: bool = False, ballast_bytes: int = 0) -> bytes:
    """Quantize, multiply by an int8 weight, quantize again: ``x`` [1, 8] to ``y`` [1, 4]; ``broken`` makes ``y`` NaN.

    ``ballast_bytes`` of weights change nothing and take memory.
    """
    weights = np.random.default_rng(5).integers(-127, 128, (8, 4)).astype(np.int8)
    constants = {
        "s_x": np.float32(0.02), "z_x": np.int8(3), "s_w": np.float32(0.01), "z_w": np.int8(0),
        "s_y": np.float32(0.05), "z_y": np.int8(-5), "w": weights,
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s_x", "z_x"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "s_x", "z_x"], ["x_d"]),
        helper.make_node("DequantizeLinear", ["w", "s_w", "z_w"], ["w_d"]),
        helper.make_node("MatMul", ["x_d", "w_d"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s_y", "z_y"], ["m_q"]),
        helper.make_node(
            "DequantizeLinear", ["m_q", "s_y", "z_y"], ["r" if broken or ballast_bytes else "y"]
        ),
    ]
    if ballast_bytes:
        nodes.append(helper.make_node("MatMul", ["x", "ballast"], ["b"]))
        nodes.append(helper.make_node("ReduceMax", ["b"], ["b_max"], axes=[1], keepdims=1))
        nodes.append(helper.make_node("Add", ["r", "b_max"], ["y"]))
        constants["ballast"] = np.zeros((8, ballast_bytes // 32), np.float32)
    if broken:
        nodes.append(helper.make_node("Log", ["minus"], ["l"]))
        nodes.append(helper.make_node("Add", ["r", "l"], ["y"]))
        constants["minus"] = np.float32(-1.0)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def onnx_artifact(
    path: Path,
    *,
    golden: bool = True,
    broken: bool = False,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
    input_name: str = "x",
    ballast_bytes: int = 0,
) -> Path:
    """An artifact of `tiny_qdq_model`, with one golden sample; ``change`` and ``input_name`` falsify what is said of it."""
    from device_agent.engines import load_engine

    model = tiny_qdq_model(broken=broken, ballast_bytes=ballast_bytes)
    payload = {"payload/model.onnx": model}
    x, y = float_tensor(input_name, (1, 8)), replace(float_tensor("y", (1, 4)), scale=0.05)
    manifest = manifest_of(payload, engine="onnx", inputs=[x], outputs=[y], form="onnx_qdq")
    members: dict[str, bytes] = dict(payload)
    if golden:
        sample = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
        engine = load_engine("onnx", {"model.onnx": model}, threads=1)
        output = np.asarray(engine.infer([sample])[0])
        engine.close()
        arrays = {
            "golden/0/input_0.npy": npy(sample),
            "golden/0/output_0.npy": npy(change(output) if change else output),
        }
        members |= arrays
        manifest = replace(
            manifest,
            members=tuple(member_of(name, data) for name, data in arrays.items()),
            golden=(GoldenSample(inputs=("golden/0/input_0.npy",), outputs=("golden/0/output_0.npy",)),),
        )
    return write_ewa(path, manifest, members)


# --- the agent ---


def write_config(folder: Path, port: int, artifact_path: Path, /, **tables: Mapping[str, object]) -> Path:
    """Write ``agent.toml``; ``tables`` add to or replace keys of the defaults."""
    document: dict[str, dict[str, object]] = {
        "device": {"id": "dev-1"},
        "artifact": {"path": str(artifact_path)},
        "source": {"kind": "null", "rate_hz": 50.0},
        "mqtt": {
            "host": "127.0.0.1",
            "port": port,
            "reconnect_min_seconds": 0.1,
            "reconnect_max_seconds": 0.5,
        },
        "telemetry": {"interval_seconds": 0.3},
        "spool": {"path": "spool/spool.db", "commit_interval_seconds": 0.05},
    }
    for name, table in tables.items():
        document.setdefault(name, {}).update(table)
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in document.items()
    )
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m device_agent`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "device_agent", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        cwd=Path(__file__).parents[2],
        check=False,
    )


TELL_THE_END = "import atexit, os; atexit.register(lambda: os.write(2, b'the interpreter ends'))"
"""A prelude of `AgentProcess`: what an engine's thread must not come back into."""


class AgentProcess:
    """``python -m device_agent run`` with its standard error in a file.

    Args:
        config: What it is told.
        prelude: Python that runs before it, to break something that does not break by itself.
        before: A command that starts it, e.g. ``nohup``.
        stdout: Descriptor of its standard output; None: this process's.
    """

    def __init__(
        self, config: Path, *, prelude: str = "", before: Sequence[str] = (), stdout: int | None = None
    ) -> None:
        self._log = config.with_name("agent.log")
        python = [sys.executable, "-m", "device_agent"]
        if prelude:
            main = "import sys; from device_agent.cli import main; sys.exit(main())"
            python = [sys.executable, "-c", f"{prelude}\n{main}"]
        command = [*before, *python, "run", "--config", str(config)]
        root = Path(__file__).parents[2]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=stdout, stderr=log, cwd=root, env={**os.environ, "PYTHONWARNINGS": "error"}
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, text: str, *, seconds: float = WAIT_SECONDS) -> None:
        wait_until(lambda: text in self.log or self.process.poll() is not None, what=text, seconds=seconds)
        assert text in self.log, self.log

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)

    def wait(self) -> int:
        return self.process.wait(WAIT_SECONDS)

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_SECONDS)
