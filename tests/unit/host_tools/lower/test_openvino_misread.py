"""What OpenVINO's reader takes and computes otherwise is refused by node, reason and cure; beside it, what it reads right converts."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

from host_tools.errors import LoweringError
from host_tools.lower.openvino_misread import require_read_right

RECURRENT = "(float[5,1,3] x, float[1,8,3] w, float[1,8,2] r, float[1,16] b, float[1,6] p)"
RESIZED = "(float[1,1,4,4] x, float[4] s)"


def graph(inputs: str, node: str) -> ir.Graph:
    text = f'<ir_version: 10, opset_import: ["" : 20]> net {inputs} => (float y) {{ {node} }}'
    return ir.from_proto(onnx.parser.parse_model(text)).graph


@pytest.mark.parametrize(
    ("inputs", "node", "said"),
    [
        (RESIZED, 'y = Resize <mode = "linear", antialias = 1> (x, , s)', "Resize .*antialias = 1"),
        (
            RESIZED,
            'y = Resize <mode = "cubic", exclude_outside = 1> (x, , s)',
            "Resize .*exclude_outside = 1",
        ),
        (RESIZED, 'y = Resize <keep_aspect_ratio_policy = "not_larger"> (x, , , s)', "Resize .*not_larger"),
        (
            "(float[1,1,4,4] x, float[1,4] q, int64[1] i)",
            'y = RoiAlign <mode = "max"> (x, q, i)',
            "RoiAlign .*mode = 'max'",
        ),
        (RECURRENT, "y = LSTM <hidden_size = 2> (x, w, r, b, , , , p)", "LSTM .*peepholes"),
        (RECURRENT, "y = GRU <hidden_size = 2, layout = 1> (x, w, r)", "GRU .*batch first"),
        ("(float[1,8,1] x)", "y = DFT (x)", "DFT .*along an axis"),
    ],
)
def test_refused(inputs: str, node: str, said: str) -> None:
    with pytest.raises(LoweringError, match=said) as caught:
        require_read_right(graph(inputs, node))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("inputs", "node"),
    [
        (RESIZED, 'y = Resize <mode = "linear"> (x, , s)'),
        ("(float[1,1,4,4] x, float[1,4] q, int64[1] i)", "y = RoiAlign (x, q, i)"),
        (RECURRENT, "y = LSTM <hidden_size = 2> (x, w, r, b)"),
    ],
)
def test_read_right(inputs: str, node: str) -> None:
    require_read_right(graph(inputs, node))
