"""A text encoder from its sentences to its results: converted for three targets by `edgewright convert`, run on texts by the agent."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from device_agent.config import load_config
from device_agent.contract import text as contract_text
from device_agent.contract.archive import ArtifactArchive, write_archive
from device_agent.contract.digest import digest_of, digest_of_file
from device_agent.contract.errors import IncompatibleError
from device_agent.frames import open_preparation
from device_agent.heat.variant import load_stand_in
from device_agent.sources.adapt import to_payload
from device_agent.sources.text import TextReader
from device_agent.startup import load_payload
from device_agent.update.trial import _incomparable
from host_tools.cli.main import main
from host_tools.free_port import free_port
from host_tools.processor import suited
from tests.integration.small_encoder import (
    LENGTH,
    SPECIAL,
    VOCABULARY,
    added,
    preprocess_toml,
    tokenizer_json,
    write_encoder,
    write_texts,
)
from tests.integration.support import AgentProcess, Mosquitto, command, publish, wait_until, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.contract.manifest import Manifest
    from tests.integration.support import Reader

TARGETS = ("x86_64-onnxruntime", suited("x86_64-openvino"), "cortex-a-tflite")
FRAMES = "ew/v1/device/dev-1///i/frame"
NO_BROKER = 1
ASKED = ("The pump in hall two is hot.", "Größe 東京 😀 of the filter", "valve " * 60)


@dataclass(frozen=True)
class Converted:
    """What `edgewright convert` left, and what it said."""

    folder: Path
    status: int
    errors: str

    def artifact(self, target: str) -> Path:
        return self.folder / "out" / f"encoder-0.1.0-{target}.ewa"


def convert(folder: Path, *arguments: str) -> Converted:
    """Run the command in this process, in ``folder``."""
    output, errors, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            status = main(
                [
                    "convert",
                    "encoder.onnx",
                    "--out",
                    "out",
                    "--cache",
                    "cache",
                    "--no-latency",
                    "--threads",
                    "1",
                    *arguments,
                ]
            )
    finally:
        os.chdir(before)
    return Converted(folder, status, errors.getvalue())


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = tmp_path_factory.mktemp("texts")
    write_encoder(folder / "encoder.onnx")
    write_texts(folder / "data")
    done = convert(
        folder, "--data", "data/texts.txt", "--min-agreement", "0.5",
        *(argument for target in TARGETS for argument in ("--target", target)),
    )  # fmt: skip
    assert done.status == 0, done.errors
    return done


def expected(artifact: Path, text: str) -> list[float]:
    """Return what the artifact's engine gives for a text, tokenised beside the agent."""
    archive = ArtifactArchive.open(artifact)
    reader = open_preparation(archive)
    assert isinstance(reader, TextReader)
    inputs = to_payload(reader.arrays(text), archive.manifest.inputs)
    engine, _ = load_payload(archive, threads=1)
    found = np.asarray(engine.infer(inputs)[0])
    engine.close()
    (tensor,) = archive.manifest.outputs
    real = found.astype(np.float64)
    if tensor.zero_point is not None and tensor.scale is not None:
        real = (real - tensor.zero_point) * tensor.scale
    return [float(value) for value in real.reshape(-1)]


def changed(
    artifact: Path, path: Path, manifest: Manifest, members: Mapping[str, bytes] | None = None
) -> Path:
    """Write the artifact anew with another manifest and some other members."""
    archive = ArtifactArchive.open(artifact)
    contents = {
        member.name: archive.read(member.name)
        for member in (*archive.manifest.payload, *archive.manifest.members)
    }
    contents |= members or {}

    def described(member: Any) -> Any:
        data = contents[member.name]
        return replace(member, size_bytes=len(data), digest=digest_of(data))

    manifest = replace(manifest, members=tuple(map(described, manifest.members)))
    with path.open("wb") as stream:
        write_archive(stream, manifest, contents)
    return path


# --- the artifact ---


@pytest.mark.parametrize("target", TARGETS)
def test_the_tokeniser_travels_with_its_digest_and_texts_that_prove_it(
    converted: Converted, target: str
) -> None:
    archive = ArtifactArchive.open(converted.artifact(target))
    manifest, text = archive.manifest, archive.manifest.text
    assert text is not None
    assert manifest.schema_version == "1.5"
    assert manifest.preprocessing is None
    assert (text.length, dict(text.inputs)) == (LENGTH, {"input_ids": "ids", "attention_mask": "mask"})
    source = converted.folder / "data" / "tokenizer.json"
    assert archive.read(text.tokenizer) == source.read_bytes()
    assert contract_text.tokenizer_digest(manifest) == digest_of_file(source)
    assert len(text.samples) == 3
    assert manifest.made_with["tokenizers"]
    assert len(manifest.golden) == 2
    assert all(len(sample.inputs) == 2 for sample in manifest.golden)


def test_inspect_shows_what_becomes_of_a_text(
    converted: Converted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(converted.artifact(TARGETS[0]))]) == 0
    line = "16 tokens by text/tokenizer.json, ids to input_ids, mask to attention_mask; 3 texts with their numbers"
    assert f"texts        {line}\n" in capsys.readouterr().out


# --- the agent ---


@pytest.mark.parametrize("target", TARGETS)
def test_the_agent_runs_texts_of_a_folder(converted: Converted, tmp_path: Path, target: str) -> None:
    (tmp_path / "frames").mkdir()
    for index, text in enumerate(ASKED):
        (tmp_path / "frames" / f"{index}.txt").write_text(text + "\n")
    (tmp_path / "frames" / "9.txt").write_bytes(b"caf\xe9")
    config = write_config(
        tmp_path,
        NO_BROKER,
        converted.artifact(target),
        device={"targets": [target]},
        source={"kind": "directory", "path": "frames", "rate_hz": 0.0},
        results={"jsonl": "results.jsonl", "max_rate_hz": 0.0},
    )
    checked = command("check", "--config", str(config))
    assert checked.returncode == 0, checked.stderr
    with AgentProcess(config) as agent:
        assert agent.wait() == 0, agent.log
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [result["frame"] for result in results] == ["0.txt", "1.txt", "2.txt"]
    for text, result in zip(ASKED, results, strict=True):
        assert result["outputs"][0]["values"] == pytest.approx(
            expected(converted.artifact(target), text), abs=1e-6
        )


def test_the_agent_answers_texts_over_http_and_the_broker(
    converted: Converted, tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    artifact = converted.artifact(TARGETS[0])
    wanted = expected(artifact, ASKED[0])
    port = free_port()
    (tmp_path / "http").mkdir()
    config = write_config(
        tmp_path / "http", NO_BROKER, artifact, source={"kind": "http", "http_port": port, "rate_hz": 0.0}
    )
    with AgentProcess(config) as agent:
        wait_until(lambda: answered(port, ASKED[0].encode(), "text/plain"), what="the agent listens")
        status, answer = post(port, ASKED[0].encode(), "text/plain; charset=utf-8")
        assert status == 200
        assert answer["outputs"][0]["values"] == pytest.approx(wanted, abs=1e-6)
        assert post(port, b'{"text": "a"}', "application/json")[0] == 400
        assert agent.stop() == 0
    mosquitto.start()
    reader = listen(mosquitto.port)
    (tmp_path / "mqtt").mkdir()
    config = write_config(
        tmp_path / "mqtt", mosquitto.port, artifact,
        source={"kind": "mqtt", "rate_hz": 0.0}, results={"mqtt": True, "max_rate_hz": 0.0},
    )  # fmt: skip
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        wait_until(lambda: inferred(mosquitto.port, reader), what="frames are taken")
        for frame in (b"caf\xe9", b"a" * 70_000):
            publish(mosquitto.port, FRAMES, frame)
        result = reader.about("/o/inference")[0].body
        refused = reader.wait_for("/e/frames_refused").body
        assert agent.stop() == 0
    assert result["outputs"][0]["values"] == pytest.approx(wanted, abs=1e-6)
    assert refused["severity"] == "warning"


def test_a_text_whose_numbers_name_no_row_is_a_refused_frame_and_no_failed_inference(
    converted: Converted, tmp_path: Path
) -> None:
    """An artifact of another host, whose model has fewer rows than its tokeniser has numbers."""
    made = ArtifactArchive.open(converted.artifact(TARGETS[0])).manifest
    ids, mask = made.inputs
    assert (ids.rows, mask.rows) == (VOCABULARY, None)
    assert made.requires.manifest_features == ("text",)
    few = changed(
        converted.artifact(TARGETS[0]),
        tmp_path / "few.ewa",
        replace(made, inputs=(replace(ids, rows=5), mask)),
    )
    port = free_port()
    source = {"kind": "http", "http_port": port, "rate_hz": 0.0}
    engine = {"max_consecutive_errors": 1}
    config = write_config(tmp_path, NO_BROKER, few, source=source, engine=engine)
    with AgentProcess(config) as agent:
        wait_until(lambda: answered(port, "東京".encode(), "text/plain"), what="the agent listens")
        for _ in range(3):
            status, answer = post(port, ASKED[0].encode(), "text/plain")
            assert status == 400
            assert (
                "input 'input_ids': expected numbers of rows of the model's table, which has 5; got"
                in answer["error"]
            )
        assert post(port, "東京".encode(), "text/plain")[0] == 200
        assert agent.stop() == 0


def inferred(port: int, reader: Reader) -> bool:
    """Send a text, until one is there when the source stands."""
    publish(port, FRAMES, ASKED[0].encode())
    return bool(reader.about("/o/inference"))


def post(port: int, body: bytes, kind: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/infer", body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def answered(port: int, body: bytes, kind: str) -> bool:
    try:
        return post(port, body, kind)[0] == 200
    except OSError:
        return False


# --- artifacts whose texts are not read as on the host ---


def of_another_number(artifact: Path, path: Path) -> Path:
    manifest = ArtifactArchive.open(artifact).manifest
    assert manifest.text is not None
    first, *others = manifest.text.samples
    ids = (*first.ids[:3], first.ids[3] + 1, *first.ids[4:])
    samples = (replace(first, ids=ids), *others)
    return changed(artifact, path, replace(manifest, text=replace(manifest.text, samples=samples)))


def of_another_vocabulary(artifact: Path, path: Path) -> Path:
    document = json.loads(ArtifactArchive.open(artifact).read("text/tokenizer.json"))
    vocabulary = document["model"]["vocab"]
    document["model"]["vocab"] = {
        piece: number if piece in SPECIAL else len(vocabulary) + len(SPECIAL) - 1 - number
        for piece, number in vocabulary.items()
    }
    data = json.dumps(document).encode()
    return changed(artifact, path, ArtifactArchive.open(artifact).manifest, {"text/tokenizer.json": data})


def of_no_tokeniser(artifact: Path, path: Path) -> Path:
    return changed(artifact, path, ArtifactArchive.open(artifact).manifest, {"text/tokenizer.json": b"{}"})


def of_a_spoilt_tokeniser(artifact: Path, path: Path) -> Path:
    data = artifact.read_bytes()
    path.write_bytes(
        data.replace(b'"lowercase":true', b'"lowercase":talk')
        if b'"lowercase":true' in data
        else data.replace(b'"lowercase": true', b'"lowercase": talk')
    )
    return path


@pytest.mark.parametrize(
    ("make", "status", "says"),
    [
        (of_another_number, 4, "a.ewa: text/tokenizer.json: text 0, ids: token 3 is"),
        (of_another_vocabulary, 4, "the model would be fed other numbers than it was made for"),
        (of_no_tokeniser, 5, "a.ewa: text/tokenizer.json: not a tokenizer.json that tokenizers"),
        (of_a_spoilt_tokeniser, 5, "member 'text/tokenizer.json'"),
    ],
)
def test_an_artifact_whose_texts_have_other_numbers_here_is_refused(
    converted: Converted, tmp_path: Path, make: Callable[[Path, Path], Path], status: int, says: str
) -> None:
    artifact = make(converted.artifact(TARGETS[0]), tmp_path / "a.ewa")
    config = write_config(tmp_path, NO_BROKER, artifact)
    with AgentProcess(config) as agent:
        assert agent.wait() == status, agent.log
    last = agent.log.strip().splitlines()[-1]
    assert says in last
    assert "Traceback" not in agent.log
    checked = command("check", "--config", str(config))
    assert checked.returncode == status
    assert checked.stderr.strip() == last


def test_without_the_library_the_artifact_is_refused_before_the_first_frame(
    converted: Converted, tmp_path: Path
) -> None:
    config = write_config(tmp_path, NO_BROKER, converted.artifact(TARGETS[0]))
    with AgentProcess(config, prelude="import sys; sys.modules['tokenizers'] = None") as agent:
        assert agent.wait() == 5, agent.log
    last = agent.log.strip().splitlines()[-1]
    assert (
        "encoder 0.1.0 takes texts: texts are read by the library tokenizers, which cannot be imported"
        in last
    )
    assert "pip install 'edgewright[text]'" in last
    assert "Traceback" not in agent.log


def test_another_tokeniser_cannot_stand_in_nor_be_compared(converted: Converted, tmp_path: Path) -> None:
    artifact = converted.artifact(TARGETS[0])
    like = ArtifactArchive.open(artifact).manifest
    data = ArtifactArchive.open(artifact).read("text/tokenizer.json") + b"\n"
    other = changed(artifact, tmp_path / "b.ewa", like, {"text/tokenizer.json": data})
    config = load_config(write_config(tmp_path, NO_BROKER, artifact))
    with pytest.raises(
        IncompatibleError, match=r"b\.ewa: its preparation of frames is not that of encoder 0\.1\.0"
    ):
        load_stand_in(config, other, None, like=like, memory_max_bytes=0)
    _, engine = load_stand_in(config, artifact, None, like=like, memory_max_bytes=0)
    engine.close()
    new = ArtifactArchive.open(other).manifest
    assert _incomparable(like, like) == ""
    assert _incomparable(new, like).startswith("its preparation of frames is not that of the current")


# --- what convert refuses ---


@pytest.mark.parametrize(
    ("spoil", "arguments", "says"),
    [
        ({"mask": None}, (), "[text] does not say what the model's input 'attention_mask' takes"),
        ({"types": "token_type_ids"}, (), "text.types: the model has no input 'token_type_ids'"),
        ({"length": 12}, (), "text.length: the model's input"),
        ({"tokenizer": "absent.json"}, (), "absent.json: cannot be read"),
        ({"length": 0}, (), "text.length: expected tokens from 1 to 8192"),
        ({}, ("--fold-preprocessing",), "says how texts become inputs, of which nothing can be folded"),
    ],
)
def test_convert_refuses_before_it_calibrates(
    tmp_path: Path, spoil: dict[str, object], arguments: tuple[str, ...], says: str
) -> None:
    write_encoder(tmp_path / "encoder.onnx")
    write_texts(tmp_path / "data", **spoil)
    done = convert(tmp_path, "--data", "data/texts.txt", "--target", TARGETS[0], *arguments)
    assert done.status == 2
    assert says in done.errors
    assert "Traceback" not in done.errors
    assert not (tmp_path / "out" / f"encoder-0.1.0-{TARGETS[0]}.ewa").exists()


def test_convert_refuses_a_tokeniser_of_more_numbers_than_the_model_has_rows(tmp_path: Path) -> None:
    write_encoder(tmp_path / "encoder.onnx")
    write_texts(tmp_path / "data", tokenizer_json(added_tokens=[added(VOCABULARY, "<more>")]))
    done = convert(tmp_path, "--data", "data/texts.txt", "--target", TARGETS[0])
    assert done.status == 2
    assert (
        f"text.tokenizer: tokenizer.json gives numbers up to {VOCABULARY} ('<more>') as ids; the model's input 'input_ids' "
        f"looks them up in 'words' (node 'embed'), which has {VOCABULARY} rows: 0 to {VOCABULARY - 1}."
    ) in done.errors.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_arrays_may_calibrate_what_devices_feed_with_texts(tmp_path: Path) -> None:
    write_encoder(tmp_path / "encoder.onnx", types=True)
    write_texts(tmp_path / "data", types="token_type_ids")
    ids = np.random.default_rng(1).integers(0, 40, (16, LENGTH))
    ones, zeros = np.ones_like(ids), np.zeros_like(ids)
    np.savez(tmp_path / "calib.npz", input_ids=ids, attention_mask=ones, token_type_ids=zeros)
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    (tmp_path / "other" / "tokenizer.json").write_bytes(tokenizer_json() + b" ")
    (tmp_path / "other" / "preprocess.toml").write_text(preprocess_toml(types="token_type_ids"))
    done = convert(
        tmp_path,
        "--data",
        "calib.npz",
        "--eval",
        "data/texts.txt",
        "--target",
        TARGETS[0],
        "--min-agreement",
        "0.1",
    )
    assert done.status == 0, done.errors
    text = ArtifactArchive.open(done.artifact(TARGETS[0])).manifest.text
    assert text is not None
    assert text.samples[0].types == (0,) * LENGTH
    done = convert(tmp_path, "--data", "data/texts.txt", "--eval", "other/texts.txt", "--target", TARGETS[0])
    assert done.status == 2
    assert "its preprocess.toml and that of --data differ" in done.errors
