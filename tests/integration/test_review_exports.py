"""Exports: OTLP to a receiver that reads it with OpenTelemetry's own messages, files, and the command line around them."""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from host_tools.cli.main import main
from host_tools.review.store.opening import open_store
from tests.integration import review_fleet
from tests.integration.review_fleet import NEW, NEW_SECONDS, OLD, SCALE, START, SWITCH, WINDOWS
from tests.unit.host_tools.review.store.stored_messages import EPOCH, batch_of, inference, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEVICES = 4
SINCE = ["--since", str(START), "--until", str(START + 7200)]


class Receiver(ThreadingHTTPServer):
    """Takes what is sent and answers as told."""

    status = 200
    answer = b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = self.server
        assert isinstance(receiver, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.paths.append(self.path)
        receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
        receiver.requests.append(ExportMetricsServiceRequest.FromString(gzip.decompress(body)))
        self.send_response(receiver.status)
        self.end_headers()
        self.wfile.write(receiver.answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@contextmanager
def receiving(status: int = 200, answer: bytes = b"") -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.status, receiver.answer = status, answer
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("store") / "fleet.duckdb")
    store = open_store(path)
    for batch in review_fleet.batches(devices=DEVICES):
        store.write(batch)
    store.roll_up()
    store.close()
    return path


def test_a_collector_gets_every_window_with_its_own_time(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiving() as receiver:
        status = main(
            [
                "review",
                "export",
                "--store",
                path,
                "--otlp",
                receiver.url,
                "--level",
                "60",
                "--header",
                "x-key=1",
                *SINCE,
            ]
        )
    assert status == 0
    assert set(receiver.paths) == {"/v1/metrics"}
    assert receiver.headers[0]["x-key"] == "1"
    metrics: dict[str, list[Any]] = {}
    units = {}
    for request in receiver.requests:
        resource = {
            one.key: one.value.string_value for one in request.resource_metrics[0].resource.attributes
        }
        assert resource["service.name"] == "edgewright"
        for metric in request.resource_metrics[0].scope_metrics[0].metrics:
            units[metric.name] = metric.unit
            metrics.setdefault(metric.name, []).extend(getattr(metric, metric.WhichOneof("data")).data_points)
    assert sum(point.as_int for point in metrics["edgewright.inferences"]) == DEVICES * WINDOWS * 100
    assert units["edgewright.inference.latency"] == "s"
    assert {point.as_double for point in metrics["edgewright.temperature.max"]} == {50.0, 85.0}
    assert "hw.host.power" not in metrics, "nobody measured it"
    new = [
        point for point in metrics["edgewright.inference.latency"]
        if any(one.value.string_value == NEW for one in point.attributes)
    ]  # fmt: skip
    assert len(new) == WINDOWS - SWITCH
    for point in new:
        assert point.time_unix_nano - point.start_time_unix_nano == 60 * 10**9
        assert point.count == sum(point.positive.bucket_counts) == DEVICES // 2 * 100
        lower = 2 ** (point.positive.offset * 2**-point.scale)
        assert point.scale <= SCALE
        assert lower < NEW_SECONDS <= lower * 2 ** (2**-point.scale) * (1 + 1e-9)
        assert point.min == point.max == NEW_SECONDS
    assert START <= min(point.start_time_unix_nano for point in new) / 1e9 <= START + SWITCH * 60
    points = int(capsys.readouterr().out.split()[0])
    assert points == sum(len(found) for found in metrics.values())


def test_buckets_that_lie_far_apart_become_coarser(tmp_path: Path) -> None:
    path = str(tmp_path / "hostile.duckdb")
    said = inference(stamp("a", "boot", 1, 10.0))
    wide = {**said.rows[0], "hist_indices": [-9_999_999, 9_999_999], "hist_counts": [2, 3]}
    store = open_store(path)
    store.write(batch_of([replace(said, rows=(wide,))]))
    store.roll_up()
    store.close()
    since = ["--since", str(EPOCH - 60.0), "--until", str(EPOCH + 60.0)]
    with receiving() as receiver:
        assert (
            main(["review", "export", "--store", path, "--otlp", receiver.url, "--level", "60", *since]) == 0
        )
    (request,) = receiver.requests
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    (point,) = next(
        one for one in metrics if one.name == "edgewright.inference.latency"
    ).exponential_histogram.data_points
    buckets = list(point.positive.bucket_counts)
    assert (point.scale, point.positive.offset, len(buckets)) == (SCALE - 14, -611, 1222)
    assert (buckets[0], buckets[-1], sum(buckets), point.count) == (2, 3, 5, 5)


@pytest.mark.parametrize(
    ("status", "partial", "said"),
    [
        (503, 0, "refused with 503"),
        (404, 0, "is its path right"),
        (200, 3, "3 points were refused: too old"),
    ],
)
def test_a_collector_that_refuses_is_no_success(
    path: str, status: int, partial: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = ExportMetricsServiceResponse()
    if partial:
        answer.partial_success.rejected_data_points = partial
        answer.partial_success.error_message = "too old"
    with receiving(status, answer.SerializeToString()) as receiver:
        assert main(["review", "export", "--store", path, "--otlp", receiver.url, *SINCE]) == 6
    assert said in capsys.readouterr().err


def test_a_collector_that_is_not_there_or_no_address(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with receiving() as receiver:
        gone = receiver.url
    assert main(["review", "export", "--store", path, "--otlp", gone, *SINCE]) == 6
    assert "Is the collector there?" in capsys.readouterr().err
    for wrong in ("collector:4318", "http://collector:otlp", "http://collector:70000", "http://[::1"):
        assert main(["review", "export", "--store", path, "--otlp", wrong, *SINCE]) == 2
        assert "expected http://" in capsys.readouterr().err


def test_files_are_written_whole(path: str, tmp_path: Path) -> None:
    timeline, devices, dashboard = tmp_path / "t.parquet", tmp_path / "d.parquet", tmp_path / "dashboard.json"
    one = ["review", "export", "--store", path]
    assert (
        main(
            [
                *one,
                "--timeline",
                str(timeline),
                "--level",
                "60",
                "--artifact",
                OLD,
                "--artifact",
                NEW[7:],
                *SINCE,
            ]
        )
        == 0
    )
    table = pyarrow.parquet.read_table(timeline)
    assert table.num_rows == 2 * WINDOWS
    assert sum(table.column("inferences").to_pylist()) == DEVICES * WINDOWS * 100
    assert main([*one, "--devices", str(devices), *SINCE]) == 0
    assert pyarrow.parquet.read_table(devices).column("device").to_pylist() == [
        f"gate-{number}" for number in range(DEVICES)
    ]
    assert main(["review", "export", "--grafana", str(dashboard)]) == 0
    assert json.loads(dashboard.read_text())["title"] == "Edgewright fleet"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--timeline", "out.xlsx"], "expected one of csv, parquet"),
        (["--timeline", ""], "expected one of csv, parquet, got ''"),
        (["--devices", ""], "expected one of csv, parquet, got ''"),
        (["--timeline", "out.csv", "--since", "yesterday"], "--since: expected a time such as"),
        (["--timeline", "out.csv", "--label", "target"], "--label: expected KEY=VALUE"),
        (["--otlp", "http://localhost:1", "--header", "key"], "--header: expected KEY=VALUE"),
    ],
)
def test_wrong_arguments_are_told(
    path: str,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["review", "export", "--store", path, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_nothing_measured_is_status_3(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    span = ["--since", "2020-01-01", "--until", "2020-01-02T00:00Z"]
    assert main(["review", "export", "--store", path, "--otlp", "http://localhost:1", *span]) == 3
    assert "nothing was measured" in capsys.readouterr().err


def test_every_table_goes_into_another_store_and_a_copy_opens_as_one(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, taken, copy = tmp_path / "tables", tmp_path / "taken.duckdb", tmp_path / "copy.duckdb"
    assert main(["review", "export", "--store", path, "--all", str(folder)]) == 0
    assert main(["review", "import", str(folder), "--store", str(taken)]) == 0
    assert main(["review", "backup", str(copy), "--store", path]) == 0
    asked = ["review", "export", "--devices", str(tmp_path / "out.csv"), *SINCE, "--store"]
    told = []
    for store in (path, str(taken), str(copy)):
        assert main([*asked, store]) == 0
        told.append((tmp_path / "out.csv").read_text())
    assert told[1:] == told[:1] * 2
    capsys.readouterr()
    for arguments, said in (
        (["export", "--store", path, "--all", str(folder)], "is there already"),
        (["import", str(folder), "--store", str(taken)], "holds telemetry already"),
        (["import", str(tmp_path / "none"), "--store", str(tmp_path / "new.duckdb")], "Name the folder"),
        (["backup", str(copy), "--store", path], "is there already"),
        (["backup", str(tmp_path / "x.duckdb"), "--store", str(tmp_path / "no.duckdb")], "no such file"),
    ):
        assert main(["review", *arguments]) == 7
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x.duckdb").exists()


def test_a_store_is_needed_and_must_hold_something(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["review", "export", "--devices", "out.csv"]) == 2
    assert "--store is missing" in capsys.readouterr().err
    open_store(str(tmp_path / "empty.duckdb")).close()
    assert main(["review", "export", "--store", str(tmp_path / "empty.duckdb"), "--devices", "out.csv"]) == 3
    assert "no telemetry in it yet" in capsys.readouterr().err


def test_an_artifact_is_named_by_its_first_characters_and_must_be_there(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "devices.csv"
    export = ["review", "export", "--store", path, "--devices", str(file), *SINCE]
    assert main([*export, "--artifact", "feed"]) == 2
    error = capsys.readouterr().err
    assert "no artifact that ran in this time begins so" in error
    assert "a1a1a1a1a1a1" in error
    assert not file.exists()
    assert main([*export, "--artifact", "b2b2"]) == 0
    assert len(file.read_text().splitlines()) == 1 + DEVICES // 2
