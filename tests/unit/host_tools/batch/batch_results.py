"""Results to write, read and show."""

from __future__ import annotations

from host_tools.batch.job import Failure, JobResult, QualityResult, TargetResult

GOOD = JobResult(
    job="good",
    seconds=12.34,
    host="desk",
    targets=(
        TargetResult(
            target="x86_64-onnxruntime",
            verdict="pass",
            quality=(QualityResult(metric="top-1", float_value=0.9, payload_value=0.895),),
            same_top_class=0.991,
            sqnr_db=23.45,
            latency_seconds=0.00123,
            payload_bytes=3 << 20,
            float_bytes=12 << 20,
            artifact="good-0.1.0-x86_64-onnxruntime.ewa",
        ),
        TargetResult(
            target="nxp-neutron",
            verdict="fail",
            reasons=("output SQNR 3.0 dB is below 8.0", "agreement"),
            quality=(QualityResult(metric="top-1", float_value=0.9, payload_value=None),),
            same_top_class=0.5,
            latency_seconds=0.002,
            payload_bytes=1 << 20,
            float_bytes=12 << 20,
            is_stand_in=True,
        ),
        TargetResult(target="amd-vitis-dpu", verdict="refused", reasons=("no LSTM <there>",)),
    ),
    files=(("report.json", "sha256:" + "0" * 64),),
    inputs="sha256:" + "1" * 64,
)
EXACT = JobResult(
    job="exact",
    seconds=1.0,
    host="desk",
    targets=(
        TargetResult(
            target="x86_64-onnxruntime",
            verdict="marginal",
            quality=(QualityResult(metric="own:iou", float_value=1.5, payload_value=1.25),),
            is_exact=True,
            payload_bytes=1,
            float_bytes=2,
        ),
    ),
)
FAILED = JobResult(
    job="failed",
    seconds=0.5,
    host="",
    failure=Failure(code="model", message="bad.onnx: not ONNX, at all.", hint="Mend it."),
)
ALL = (GOOD, EXACT, FAILED)
