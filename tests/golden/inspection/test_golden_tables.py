"""What `edgewright inspect` and `edgewright diff` print, as text."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from host_tools.difference import terminal as difference_terminal
from host_tools.difference.differences import (
    Change,
    ConstantChange,
    Differences,
    OperatorChange,
    OutputDifference,
    OutputsRun,
    ScaleChange,
)
from host_tools.inspection import payload_table, terminal
from host_tools.inspection.inspection import inspect_model
from host_tools.inspection.payload import PayloadInspection, PayloadTensorFacts
from targets import catalog
from tests.e2e.small_network import write_network
from tests.unit.host_tools.lower.lowering_cases import between
from tests.unit.host_tools.model.onnx_models import saved
from tests.unit.host_tools.plan.plan_models import profile

FOLDER = Path(__file__).parent


def printed(renderable):
    stream = io.StringIO()
    Console(file=stream, width=110, highlight=False, color_system=None).print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def test_a_model_on_every_target(tmp_path, golden):
    path = write_network(tmp_path / "small.onnx", dynamic_batch=True)
    profiles = [catalog.load(name) for name in ("cortex-a-tflite", "cortex-m-tflm", "nvidia-tensorrt")]
    found = inspect_model(path, shapes={}, profiles=profiles, rehearse=False)
    golden(FOLDER / "model.txt", printed(terminal.render(found)))


def test_a_model_that_targets_refuse(tmp_path, golden):
    path = saved(tmp_path, between("odd", "m = Shrink (a)").proto(), "odd.onnx")
    strict = profile("nxp-neutron", fallback={"to": "refuse"})
    found = inspect_model(
        path, shapes={}, profiles=[strict, catalog.load("x86_64-onnxruntime")], rehearse=True
    )
    golden(FOLDER / "refused.txt", printed(terminal.render(found)))


def test_a_file_that_is_quantized(golden):
    found = PayloadInspection(
        path="net.tflite",
        format="tflite",
        schema=3,
        file_bytes=4288,
        inputs=(PayloadTensorFacts(name="x", dtype="int8", shape=(-1, 3), scale=0.5, zero_point=-3),),
        outputs=(
            PayloadTensorFacts(name="[red]y", dtype="float32", shape=None, scale=None, zero_point=None),
        ),
        operators={"CONV_2D": {"int8": 2}, "SOFTMAX": {"float32": 1, "int8": 1}},
        weight_bytes={"int8": 2048, "int32": 64},
        is_quantized=True,
    )
    golden(FOLDER / "quantized.txt", printed(payload_table.render(found)))


def test_differences(golden):
    outputs = OutputsRun(
        golden=2,
        random=6,
        a_engine="tflite 2.3.0",
        b_engine="tflite 2.3.0",
        outputs=(
            OutputDifference(
                name="logits", sqnr_db=31.25, same_class=0.875, largest=0.31, largest_lsb=3.0, nonfinite=0
            ),
            OutputDifference(
                name="boxes", sqnr_db=None, same_class=None, largest=0.0, largest_lsb=None, nonfinite=1
            ),
        ),
    )
    found = Differences(
        a="old.ewa",
        b="new.ewa",
        identical=False,
        manifest=(
            Change(what="version", a="1.0.0", b="1.1.0"),
            Change(what="model_digest", a=f"sha256:{'1' * 64}", b=f"sha256:{'2' * 64}"),
            Change(what="heat.pause_celsius", a=None, b="80.0"),
        ),
        verification=(Change(what="verdict", a="pass", b="marginal"),),
        sizes=(Change(what="file", a="22936", b="22727"),),
        operators=(
            OperatorChange(name="s", kind="ADD", how="removed"),
            OperatorChange(
                name="c\x1b[31m1",
                kind="CONV_2D",
                how="changed",
                changes=(Change(what="strides", a="[1, 1]", b="[2, 2]"), Change(what="version", a="3", b="5")),
            ),
            OperatorChange(name="t", kind="TRANSPOSE", how="added"),
        ),
        precisions=(Change(what="float32", a=None, b="1"),),
        constants=(
            ConstantChange(
                name="w0", operator="c1", role="weight", changed=3, elements=400, largest=0.02, largest_steps=1.0
            ),
            ConstantChange(
                name="b0", operator="c1", role="bias", changed=None, elements=8, largest=None, largest_steps=None
            ),
            ConstantChange(
                name="k", operator="m", role="constant", changed=2, elements=2, largest=0.5, largest_steps=None
            ),
        ),
        scales=(
            ScaleChange(
                name="x", a_type="int8", b_type="int8", lowest_ratio=0.5, highest_ratio=0.5,
                a_zero_point=(-3,), b_zero_point=(4,),
            ),
            ScaleChange(
                name="w0", a_type="int8", b_type="int8", lowest_ratio=0.9, highest_ratio=1.25,
                a_zero_point=(0,), b_zero_point=(0,),
            ),
            ScaleChange(
                name="y", a_type="int8", b_type="float32", lowest_ratio=None, highest_ratio=None,
                a_zero_point=(1,), b_zero_point=(),
            ),
        ),
        scales_of="files",
        not_compared=("Something: for a reason.",),
        outputs=outputs,
    )  # fmt: skip
    golden(FOLDER / "differences.txt", printed(difference_terminal.render(found)))
