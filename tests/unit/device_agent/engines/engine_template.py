"""What every engine must do, as plain functions: NumPy and ``device_agent`` are all it needs, so that it also runs in the
environment of tflite-runtime, where nothing else is installed:

    python -m tests.unit.device_agent.engines.engine_template FOLDER

runs it on ``float.tflite``, ``int8.tflite`` and ``open.tflite`` of FOLDER, and prints the library's name and version.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.errors import EngineError
from device_agent.engines import ENGINES, library_of, load_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.engines.engine import Engine

    Arrays = Sequence[NDArray[np.generic]]

BIAS = np.array([[0.5, -0.5, 1.0, 0.0]], np.float32)


@dataclass(frozen=True, kw_only=True)
class EngineCase:
    """An engine with a payload, and what that payload computes.

    ``checks_arrays`` is False for the null engine, which looks at nothing but the number of its inputs.
    """

    engine: str
    files: Mapping[str, bytes]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: str
    reference: Callable[[Arrays], list[NDArray[np.generic]]]
    checks_arrays: bool = True

    def load(self, *, threads: int = 1, files: Mapping[str, bytes] | None = None) -> Engine:
        return load_engine(self.engine, self.files if files is None else files, threads=threads)

    def sample(self, seed: int) -> list[NDArray[np.generic]]:
        draw = np.random.default_rng(seed)
        return [draw.integers(-100, 100, (1, 4)).astype(self.dtype) for _ in self.inputs]

    def require_right(self, engine: Engine, seed: int) -> None:
        inputs = self.sample(seed)
        found, expected = engine.infer(inputs), self.reference(inputs)
        assert len(found) == len(expected)
        for have, want in zip(found, expected):  # noqa: B905 - Python 3.10 has strict, but the lengths are checked above
            array = np.frombuffer(have, want.dtype).reshape(want.shape)
            np.testing.assert_array_equal(array, want)


def float_reference(inputs: Arrays) -> list[NDArray[np.generic]]:
    a, b = inputs
    return [np.subtract(a, b), np.maximum(np.add(a, BIAS), np.float32(0))]


def relu_reference(inputs: Arrays) -> list[NDArray[np.generic]]:
    return [np.maximum(inputs[0], inputs[0].dtype.type(0))]


def zeros_reference(inputs: Arrays) -> list[NDArray[np.generic]]:
    return [np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)]


def says_what_it_is(case: EngineCase) -> None:
    engine = case.load()
    assert engine.name == case.engine
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)+", engine.version)
    assert engine.version == library_of(case.engine)[1]
    assert engine.input_names == case.inputs
    assert engine.output_names == case.outputs
    engine.close()


def computes_the_same_every_time(case: EngineCase) -> None:
    engine = case.load()
    for seed in (1, 2, 3, 1, 2):
        case.require_right(engine, seed)
    engine.close()


def any_number_of_threads_gives_the_same(case: EngineCase) -> None:
    for threads in (1, 2, 3):
        engine = case.load(threads=threads)
        case.require_right(engine, seed=threads)
        engine.close()


def two_engines_do_not_disturb_each_other(case: EngineCase) -> None:
    first, second = case.load(), case.load()
    case.require_right(first, seed=1)
    case.require_right(second, seed=2)
    first.close()
    case.require_right(second, seed=3)
    second.close()


def inputs_are_only_read(case: EngineCase) -> None:
    engine = case.load()
    inputs = case.sample(seed=4)
    kept = [array.copy() for array in inputs]
    for array in inputs:
        array.flags.writeable = False  # as a view of received bytes is
    expected = case.reference(inputs)
    outputs = [
        np.frombuffer(output, want.dtype)
        for output, want in zip(engine.infer(inputs), expected)  # noqa: B905 - as above
    ]
    for have, want in zip(outputs, expected):  # noqa: B905 - as above
        np.testing.assert_array_equal(have, want.ravel())
    for array, before in zip(inputs, kept):  # noqa: B905 - as above
        np.testing.assert_array_equal(array, before)
    engine.close()


def wrong_number_of_inputs_is_refused(case: EngineCase) -> None:
    engine = case.load()
    inputs = case.sample(seed=5)
    for wrong in ([], inputs[:-1], [*inputs, inputs[0]]):
        refuses(lambda wrong=wrong: engine.infer(wrong), f"expected {len(inputs)} inputs")
    case.require_right(engine, seed=5)
    engine.close()


def wrong_arrays_are_refused(case: EngineCase) -> None:
    if not case.checks_arrays:
        return
    engine = case.load()
    good, *others = case.sample(seed=6)
    wrongs = {
        "float64": good.astype(np.float64),
        "shape (4,)": good.reshape(4),
        "shape (2, 4)": np.concatenate([good, good]),
        "a list": good.tolist(),
    }
    if good.itemsize > 1:  # a library takes its bytes for numbers of the machine's own order
        wrongs[">f4"] = good.astype(">f4")
    for words, wrong in wrongs.items():
        message = refuses(lambda wrong=wrong: engine.infer([wrong, *others]), case.inputs[0])
        assert words in message, (words, message)
        case.require_right(engine, seed=6)
    engine.close()


def arrays_in_any_memory_order_are_read_right(case: EngineCase) -> None:
    if not case.checks_arrays:
        return
    engine = case.load()
    inputs = case.sample(seed=8)
    spread = [np.repeat(array, 2, axis=1)[:, ::2] for array in inputs]
    backwards = [array[:, ::-1].copy()[:, ::-1] for array in inputs]
    expected = case.reference(inputs)
    for laid_out in (spread, backwards):
        assert not any(array.flags.c_contiguous for array in laid_out)
        for have, want in zip(engine.infer(laid_out), expected):  # noqa: B905 - as above
            np.testing.assert_array_equal(have, want)
    engine.close()


def corrupt_payloads_are_refused(case: EngineCase) -> None:
    names = list(case.files)
    main = case.files[names[0]]
    for wrong in (b"", b"\0" * 64, b"not a model", main[: len(main) // 2], main[:20], main[::-1]):
        refuses(lambda wrong=wrong: case.load(files={**case.files, names[0]: wrong}), "")


def wrong_number_of_files_is_refused(case: EngineCase) -> None:
    expected = f"payload of {len(case.files)} file"
    refuses(lambda: case.load(files={}), expected)
    refuses(lambda: case.load(files={**case.files, "surplus.bin": b"1"}), expected)


def no_thread_and_too_many_are_refused(case: EngineCase) -> None:
    for threads in (0, -1, 257, 1 << 40):
        refuses(lambda threads=threads: case.load(threads=threads), "at least 1 thread, at most 256")


def closing_ends_it_and_may_be_repeated(case: EngineCase) -> None:
    engine = case.load()
    inputs = case.sample(seed=7)
    engine.infer(inputs)
    engine.close()
    engine.close()
    refuses(lambda: engine.infer(inputs), "closed")


def refuses(action: Callable[[], object], words: str) -> str:
    """Return the message of the `EngineError` that ``action`` raises; any other outcome fails."""
    try:
        action()
    except EngineError as error:
        assert words in str(error), f"{words!r} is not in {str(error)!r}"
        return str(error)
    raise AssertionError(f"nothing was refused; expected {words!r}")


TEMPLATE: tuple[Callable[[EngineCase], None], ...] = (
    says_what_it_is,
    computes_the_same_every_time,
    any_number_of_threads_gives_the_same,
    two_engines_do_not_disturb_each_other,
    inputs_are_only_read,
    wrong_number_of_inputs_is_refused,
    wrong_arrays_are_refused,
    arrays_in_any_memory_order_are_read_right,
    corrupt_payloads_are_refused,
    wrong_number_of_files_is_refused,
    no_thread_and_too_many_are_refused,
    closing_ends_it_and_may_be_repeated,
)


def cut_files_do_not_crash(case: EngineCase) -> None:
    """tflite-runtime follows offsets out of the file, and the process dies, unless the file is checked before."""
    name, data = next(iter(case.files.items()))
    refused = 0
    for length in range(0, len(data), 4):
        try:
            case.load(files={name: data[:length]}).close()
        except EngineError:
            refused += 1
    assert refused >= len(data) // 4 - 4, "only the padding at the end may be missing"


def tflite_cases(folder: Path) -> list[EngineCase]:
    return [
        EngineCase(
            engine="tflite",
            files={"model.tflite": Path(folder, "float.tflite").read_bytes()},
            inputs=("a", "b"),
            outputs=("difference", "active"),
            dtype="float32",
            reference=float_reference,
        ),
        EngineCase(
            engine="tflite",
            files={"model.tflite": Path(folder, "int8.tflite").read_bytes()},
            inputs=("x",),
            outputs=("y",),
            dtype="int8",
            reference=relu_reference,
        ),
    ]


def main(folder: Path) -> None:
    for case in tflite_cases(folder):
        for check in TEMPLATE:
            check(case)
        cut_files_do_not_crash(case)
    payload = {"model.tflite": Path(folder, "open.tflite").read_bytes()}
    refuses(lambda: load_engine("tflite", payload, threads=1), "static shape")
    assert set(ENGINES) == {"onnx", "tflite", "openvino", "null"}
    from device_agent.engines.tflite import library

    print(*library())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
