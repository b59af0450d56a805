"""Every engine passes the template; each engine's own traits; the door `load_engine`."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import EdgewrightError, EngineError
from device_agent.engines import ENGINES, available, library_of, load_engine
from device_agent.engines import tflite as tflite_engine
from device_agent.engines.openvino import compile_settings
from device_agent.engines.tflite_bounds import require_bounds
from tests.integration.support import null_artifact
from tests.unit.device_agent.engines import payloads
from tests.unit.device_agent.engines.engine_template import (
    TEMPLATE,
    EngineCase,
    cut_files_do_not_crash,
    float_reference,
    refuses,
    relu_reference,
    zeros_reference,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def null_payload(**changes: object) -> dict[str, bytes]:
    document = {
        "inputs": ["a", "b"],
        "outputs": [{"name": "difference", "size_bytes": 16}, {"name": "active", "size_bytes": 16}],
    }
    return {"model.null.json": json.dumps(document | changes).encode()}


def _float_case(engine: str, files: Mapping[str, bytes]) -> EngineCase:
    names = {"inputs": ("a", "b"), "outputs": ("difference", "active")}
    return EngineCase(engine=engine, files=files, dtype="float32", reference=float_reference, **names)


def _one_input_case(engine: str, files: Mapping[str, bytes], dtype: str = "int8") -> EngineCase:
    names = {"inputs": ("x",), "outputs": ("y",)}
    return EngineCase(engine=engine, files=files, dtype=dtype, reference=relu_reference, **names)


NO_BUILD_SERVER = {"ci": "", "tf_build": "", "jenkins_url": ""}
CASES = {
    "onnx-float": _float_case("onnx", payloads.onnx_float()),
    "onnx-one-float": _one_input_case("onnx", payloads.onnx_one_float(), "float32"),
    "onnx-int8": _one_input_case("onnx", payloads.onnx_int8()),
    "openvino-float": _float_case("openvino", payloads.openvino_float()),
    "openvino-int8": _one_input_case("openvino", payloads.openvino_int8()),
    "tflite-float": _float_case("tflite", payloads.tflite_float()),
    "tflite-int8": _one_input_case("tflite", payloads.tflite_int8()),
    "null": EngineCase(
        engine="null",
        files=null_payload(),
        inputs=("a", "b"),
        outputs=("difference", "active"),
        dtype="float32",
        reference=zeros_reference,
        checks_arrays=False,
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("check", TEMPLATE, ids=lambda check: check.__name__)
def test_template(check: Callable[[EngineCase], None], name: str) -> None:
    check(CASES[name])


@pytest.mark.parametrize("name", ["tflite-float", "tflite-int8"])
def test_cut_tflite_files_do_not_crash(name: str) -> None:
    cut_files_do_not_crash(CASES[name])


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_pass_the_bounds_check_or_are_refused(data: st.DataObject) -> None:
    """No other exception, and a file that it lets pass can be walked by its offsets."""
    payload = bytearray(payloads.tflite_float()["model.tflite"])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(8, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EngineError):
        require_bounds(bytes(payload))


def test_tables_that_all_point_at_one_place_do_not_take_for_ever() -> None:
    """A file of 8 MB whose two million subgraphs are all the same one."""
    table_count = 2_000_000
    vtable = struct.pack("<HHHHH", 10, 8, 0, 0, 4)  # field 2, the subgraphs, at byte 4 of the table
    head = struct.pack("<I4s", 20, b"TFL3") + vtable + b"\0\0" + struct.pack("<iI", 12, 4)
    empty = struct.pack("<HHi", 4, 4, 4)  # a table without fields, behind its vtable
    items = struct.pack("<I", table_count)
    start = len(head) + 4
    target = start + 4 * table_count + 4
    offsets = np.arange(target - start, target - start - 4 * table_count, -4, dtype="<u4")
    refuses(lambda: require_bounds(head + items + offsets.tobytes() + empty), "tables")


def test_every_engine_stands_in_the_template() -> None:
    assert {case.engine for case in CASES.values()} == set(ENGINES)


@pytest.mark.parametrize(
    ("engine", "files"),
    [
        ("onnx", payloads.onnx_float(batch="batch")),
        ("openvino", payloads.openvino_float(batch=-1)),
        ("tflite", payloads.tflite_float(is_open=True)),
    ],
    ids=["onnx", "openvino", "tflite"],
)
def test_a_payload_with_an_open_shape_is_refused(engine: str, files: Mapping[str, bytes]) -> None:
    assert "'a'" in refuses(lambda: load_engine(engine, files, threads=1), "static shape")


def test_truncated_openvino_weights_are_refused() -> None:
    files = payloads.openvino_float()
    refuses(lambda: load_engine("openvino", {**files, "model.bin": b""}, threads=1), "refuses the payload")


def test_onnx_that_speaks_of_files_beside_it_is_refused(tmp_path, monkeypatch) -> None:
    """External data would be read from wherever the agent happens to stand."""
    import onnx

    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(payloads.onnx_float()["model.onnx"])
    onnx.save_model(model, "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    data = (tmp_path / "model.onnx").read_bytes()
    refuses(lambda: load_engine("onnx", {"model.onnx": data}, threads=1), "model_path must not be empty")


def test_unknown_engine_is_named_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match="'tvm' is unknown; there are onnx, tflite, openvino, null"):
        load_engine("tvm", {"model": b"1"}, threads=1)
    with pytest.raises(EngineError, match="'tvm' is unknown"):
        library_of("tvm")


def test_available_names_the_package_that_really_runs() -> None:
    assert available() == {
        "onnx": f"onnxruntime {version('onnxruntime')}",
        "tflite": f"ai-edge-litert {version('ai-edge-litert')}",
        "openvino": f"openvino {version('openvino')}",
        "null": "null 1.0",
    }


@pytest.mark.parametrize("kind", ["ModuleNotFoundError", "OSError", "AttributeError", "RuntimeError"])
def test_an_absent_or_broken_library_says_what_to_install(kind: str) -> None:
    """In a process where no inference library can be imported: a shared object for another machine is an OSError."""
    program = """
import builtins, json, sys
kind = sys.argv[1]
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"onnxruntime", "openvino", "ai_edge_litert", "tflite_runtime", "tensorflow"}:
            raise getattr(builtins, kind)(f"{name!r} is not for this machine")
sys.meta_path.insert(0, Absent())
from device_agent.contract.errors import EngineError
from device_agent.engines import available, load_engine
said = {}
for name in ("onnx", "tflite", "openvino"):
    try:
        load_engine(name, {"model": b"1"}, threads=1)
    except EngineError as error:
        said[name] = str(error)
print(json.dumps([said, available()]))
"""
    said, there = json.loads(run_python(program, kind))
    for engine, extra in (("onnx", "[onnx]"), ("tflite", "[tflite]"), ("openvino", "[openvino]")):
        assert f"edgewright{extra}" in said[engine]
        assert there[engine].startswith("unavailable: ")
        assert f"{kind}: " in said[engine]
    assert there["null"] == "null 1.0"


def test_where_there_is_no_numpy_engines_and_sources_say_so(tmp_path: Path) -> None:
    """A device that was just installed: the package brings neither an engine nor NumPy."""
    code = """
import sys
sys.modules["numpy"] = None
from pathlib import Path
from device_agent.config import SourceSection
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import EdgewrightError
from device_agent.engines import available, load_engine
from device_agent.frames import FrameDoor, open_source
for name, said in available().items():
    print(name, said)
for begin in (
    lambda: load_engine("onnx", {"a": b""}, threads=1),
    lambda: open_source(SourceSection(kind="http"), ArtifactArchive.open(Path(sys.argv[1])), door=FrameDoor(), on_refused=None, describe=None),
):
    try:
        begin()
    except EdgewrightError as error:
        print(error.code, error, error.hint)
"""
    artifact = null_artifact(tmp_path / "a.ewa")
    done = subprocess.run(
        [sys.executable, "-c", code, str(artifact)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *engines, null, loading, source = done.stdout.splitlines()
    assert [line.split()[1:4] for line in engines] == [
        ["unavailable:", "engine", repr(line.split()[0])] for line in engines
    ]
    assert null == "null null 1.0"
    assert "needs numpy, which is not installed." in loading
    assert loading.startswith("engine ")
    assert "source.kind 'http' needs numpy, which is not installed." in source
    assert source.endswith("pip install numpy")


def test_the_null_engine_needs_no_numpy() -> None:
    program = f"""
import sys
from device_agent.engines import load_engine
engine = load_engine("null", {{"m": {null_payload()["model.null.json"]!r}}}, threads=1)
outputs = engine.infer([b"", b""])
assert [len(output) for output in outputs] == [16, 16], outputs
print(sorted(name for name in sys.modules if name.split(".")[0] == "numpy"))
"""
    assert run_python(program) == "[]\n"


def test_openvino_does_not_call_home(tmp_path) -> None:
    """Left alone, its import forks a child that sends an event to Google Analytics; here the child would hit the audit hook.

    OpenVINO itself is silent where it sees a build server, so the tests hide that they may run on one.
    """
    files = payloads.openvino_int8()
    program = f"""
import sys, threading
heard = []
watched = ("os.fork", "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "socket.sendto")
sys.addaudithook(lambda event, args: heard.append(event) if event in watched else None)
from device_agent.engines import load_engine
import numpy as np
engine = load_engine("openvino", {files!r}, threads=1)
engine.infer([np.zeros((1, 4), np.int8)])
telemetry = [name for name in sys.modules if name.startswith("openvino_telemetry")]
print(heard, [thread.name for thread in threading.enumerate()], telemetry)
"""
    assert run_python(program, home=tmp_path, **NO_BUILD_SERVER) == "[] ['MainThread'] []\n"
    assert list(tmp_path.iterdir()) == []


def test_openvino_would_call_home_if_it_were_let(tmp_path) -> None:
    """So that the test above cannot pass for the wrong reason: the event is built and handed to a sender, which is muted here."""
    program = """
import openvino_telemetry.utils.sender as sender
said = []
sender.TelemetrySender.send = lambda self, backend, message, force_send=False: said.append(message)
import openvino
print(len(said))
"""
    assert run_python(program, home=tmp_path, **NO_BUILD_SERVER) == "1\n"


def test_openvino_computes_in_float32_where_it_computes_in_float() -> None:
    from device_agent.engines.openvino_library import openvino as ov

    files = payloads.openvino_float()
    model = ov.Core().read_model(files["model.xml"], files["model.bin"])
    compiled = ov.Core().compile_model(model, "CPU", compile_settings(1))
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": None},
        {"outputs": [{"name": "y"}]},
        {"outputs": [{"name": "y", "size_bytes": -1}]},
        {"outputs": [{"name": "y", "size_bytes": 1 << 40}]},
        {"outputs": [{"name": "y", "size_bytes": "many"}]},
        {"latency_seconds": -1},
        {"latency_seconds": 1e9},
        {"latency_seconds": "NaN"},
    ],
    ids=str,
)
def test_null_payloads_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    refuses(lambda: load_engine("null", null_payload(**changes), threads=1), "null engine")


@pytest.mark.parametrize("data", [b"[]", b"[" * 100_000, b'"x"', b"\xff", b"1"])
def test_null_payloads_that_are_no_object_are_refused(data: bytes) -> None:
    refuses(lambda: load_engine("null", {"model.null.json": data}, threads=1), "null engine")


def test_the_null_engine_takes_the_time_it_is_told() -> None:
    engine = load_engine("null", null_payload(latency_seconds=0.02), threads=1)
    start = time.monotonic()
    for _ in range(5):
        engine.infer([np.zeros(1), np.zeros(1)])
    assert time.monotonic() - start >= 0.1


def test_tflite_takes_the_first_library_that_can_be_imported(monkeypatch) -> None:
    litert = ("ai-edge-litert", "ai_edge_litert.interpreter")
    monkeypatch.setattr(tflite_engine, "_LIBRARIES", (("no-such", "no_such.interpreter"), litert))
    assert tflite_engine.library() == ("ai-edge-litert", version("ai-edge-litert"))
    monkeypatch.setattr(tflite_engine, "_LIBRARIES", (("no-such", "no_such.interpreter"),))
    refuses(tflite_engine.library, "no-such: ModuleNotFoundError: No module named 'no_such'")


@pytest.mark.parametrize("engine", ["onnx", "openvino", "tflite", "null"])
def test_bytes_that_are_no_model_raise_nothing_but_our_errors(engine: str) -> None:
    draw = np.random.default_rng(11)
    for length in (1, 7, 100, 4096):
        files = {"main": draw.bytes(length)} | ({"weights": draw.bytes(8)} if engine == "openvino" else {})
        with pytest.raises(EdgewrightError):
            load_engine(engine, files, threads=1)


def run_python(program: str, *arguments: str, **environment: object) -> str:
    variables = os.environ | {name.upper(): str(value) for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
