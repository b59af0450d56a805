"""One table of all results: cells, CSV, page."""

from __future__ import annotations

import csv

from host_tools.batch.page import render_batch
from host_tools.batch.table import Entry, encode_csv, metrics, rows
from host_tools.cli.batch_run import batch_table
from host_tools.cli.conversion import wide_console
from tests.unit.host_tools.batch.batch_results import EXACT, FAILED, GOOD

ENTRIES = (
    Entry(result=GOOD, state="done"),
    Entry(result=EXACT, state="kept"),
    Entry(result=FAILED, state="failed"),
)


def test_cells() -> None:
    assert metrics(ENTRIES) == ("top-1", "own:iou")
    first, second, refused, exact, failed = rows(ENTRIES)
    assert (first.model, first.target, first.verdict, first.state) == (
        "good",
        "x86_64-onnxruntime",
        "pass",
        "done",
    )
    assert (first.quality, first.same, first.sqnr, first.latency, first.size, first.seconds) == (
        ("89.5", "–"),
        "99.1",
        "23.4",
        "1.23",
        "3.00",
        "12.3",
    )
    assert first.link == "good/report.html#x86_64-onnxruntime"
    assert (second.quality, second.sqnr, second.latency) == (("–", "–"), "–", "2.00 *")
    assert second.note == "output SQNR 3.0 dB is below 8.0; agreement"
    assert (refused.verdict, refused.size, refused.note) == ("refused", "–", "no LSTM <there>")
    assert (exact.quality, exact.sqnr, exact.state) == (("–", "1.2500"), "exact", "kept")
    assert (failed.target, failed.verdict, failed.note, failed.link) == (
        "–",
        "failed",
        "bad.onnx: not ONNX, at all. Mend it.",
        "",
    )


def test_csv_is_read_back_with_units_that_sum() -> None:
    first, second, refused, exact, failed = csv.DictReader(encode_csv(ENTRIES).decode().splitlines())
    assert (first["top-1 (float)"], first["top-1"], first["own:iou"]) == ("0.9", "0.895", "")
    assert (float(first["latency_seconds"]), int(first["payload_bytes"])) == (0.00123, 3 << 20)
    assert first["artifact"] == "good/good-0.1.0-x86_64-onnxruntime.ewa"
    assert (second["sqnr_db"], exact["sqnr_db"]) == ("", "inf")
    assert refused["note"] == "no LSTM <there>"
    assert (failed["verdict"], failed["note"], failed["target"]) == (
        "failed",
        "bad.onnx: not ONNX, at all. Mend it.",
        "",
    )
    assert None not in failed  # as many cells as headings


def test_the_page_escapes_and_counts() -> None:
    page = render_batch(ENTRIES, side_by_side="2 processes", tools={"onnx": "1.2"})
    assert "no LSTM &lt;there&gt;" in page
    assert "1 pass, 1 marginal, 1 fail, 1 refused, 1 failed. Ran on: 2 processes." in page
    assert '<th>onnx</th><td class="mono">1.2</td>' in page
    assert 'href="good/report.html#nxp-neutron"' in page
    assert "stands in for hardware" in page
    assert "stands in for hardware" not in render_batch(ENTRIES[1:], side_by_side="", tools={})


def test_the_terminal_says_each_model_once() -> None:
    console = wide_console()
    with console.capture() as captured:
        console.print(batch_table(ENTRIES))
    lines = captured.get().splitlines()
    assert [line.split()[0] for line in lines if "12.3" in line] == ["good"]
    assert sum("good" in line for line in lines) == 1
    assert "3 models" in lines[0]
