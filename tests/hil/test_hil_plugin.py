"""The pytest plugin, as somebody outside this repository uses it: sessions of pytest in a folder of their own."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.browser import ask

if TYPE_CHECKING:
    pass

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def outside(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder whose sessions know the plugin, warnings as errors."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini(
        "[pytest]\naddopts = -p hil.plugin -p no:randomly -p no:cacheprovider\nfilterwarnings = error\nstrict_markers = true\n"
    )
    return pytester


def test_without_a_rig_tests_that_need_one_are_skipped_and_others_run(outside: pytest.Pytester) -> None:
    outside.makepyfile(
        """
        def test_of_the_board(rig): assert False
        def test_of_something_else(): pass
        """
    )
    done = outside.runpytest_subprocess("-rs")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["*no rig: say pytest --rig local*"])


def test_a_wrong_rig_is_named_with_what_was_meant_and_without_a_traceback(outside: pytest.Pytester) -> None:
    outside.makepyfile("def test_it(rig): pass")
    board = outside.path / "far.toml"
    board.write_text(
        '[board]\nkind = "ssh"\ntargets = ["cortex-a-tflite"]\n[resource]\nhost = "none.invalid"\n'
    )
    for rig, said in (
        ("locl", "*rig 'locl': unknown. Did you mean 'local'?*"),
        ("no.toml", "*no.toml: cannot be read: No such file or directory*"),
        (str(board), "*none.invalid: connecting: *Try the same by hand: ssh.*"),
    ):
        done = outside.runpytest_subprocess("--rig", rig)
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines([said])
        done.stdout.no_fnmatch_line("*raise *Error*")


def test_markers_skip_with_the_reason_and_refuse_what_is_no_feature(outside: pytest.Pytester) -> None:
    board = outside.path / "plain.toml"
    board.write_text('[board]\nkind = "local"\nsensors = "board"\ntargets = ["cortex-a-tflite"]\n')
    outside.makepyfile(
        """
        import pytest
        @pytest.mark.needs("power", "thermal")
        def test_hot(rig): assert False
        @pytest.mark.needs("warp")
        def test_warp(rig): assert False
        @pytest.mark.needs("shell", "files")
        def test_plain(rig):
            rig.files.write(f"{rig.folder}/a/b", b"1\\n2\\n")
            assert rig.shell.run(["wc", "-l", f"{rig.folder}/a/b"]).stdout.split()[0] == b"2"
        def test_asks_for_what_is_not_there(rig): rig.thermal.set_celsius(80)
        """
    )
    done = outside.runpytest_subprocess("-rs", "--rig", str(board))
    done.assert_outcomes(passed=1, skipped=2, errors=1)
    done.stdout.fnmatch_lines(["*rig 'plain' has no thermal; it has shell, files, power, network*"])
    done.stdout.fnmatch_lines(["*rig 'plain' has no 'thermal'.*"])
    done.stdout.fnmatch_lines(["*marker needs: 'warp' is no feature*"])


def test_a_broken_rig_fails_once_and_the_rest_skips_with_the_first_cause(outside: pytest.Pytester) -> None:
    outside.makepyfile(
        """
        from hil.errors import RigError
        def test_whole(rig): pass
        def test_breaks(rig): raise RigError("the relay does not answer")
        def test_after(rig): assert False
        def test_not_on_the_rig(): pass
        """
    )
    done = outside.runpytest_subprocess("-rs", "--rig", "local", "--rig-report", "page.html")
    done.assert_outcomes(passed=2, failed=1, skipped=1)
    done.stdout.fnmatch_lines(["*the rig is broken since *::test_breaks: the relay does not answer*"])
    assert "The rig broke." in (outside.path / "page.html").read_text()


@pytest.mark.slow
def test_the_test_in_the_document_passes(outside: pytest.Pytester) -> None:
    text = (ROOT / "docs" / "hil.md").read_text()
    outside.makepyfile(text[text.index("## A test of yours") :].split("```")[1].removeprefix("python\n"))
    done = outside.runpytest_subprocess("--rig", "local")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["test_it_comes_back_hot: missing_messages = *(≤ 10: pass)"])


MEASURING = """
import math, pytest
@pytest.mark.parametrize("value", [1.0, 1.9, 2.1, math.nan])
def test_latency(rig, measure, hil_record, value):
    measure("latency_p90", value, "ms", low=0.5, high=2.0, margin=0.2, note="<b>by hand</b>")
    measure("count", 3, "1")
    hil_record.add_series("temperature", unit="°C", lines=[("zone", [0.0, 1.0], [40.0, None]), ("chip", [0.0, 1.0], [41.0, 42.0])])
    hil_record.add_log("console", "<script>alert(1)</script>")
"""


def test_numbers_beyond_their_limits_fail_and_are_told_in_junit_and_on_the_page(
    outside: pytest.Pytester, tmp_path: Path
) -> None:
    outside.makepyfile(MEASURING)
    done = outside.runpytest_subprocess(
        "--rig", "local", "--rig-report", "page.html", "--junit-xml", "junit.xml", "-o", "junit_family=xunit1"
    )
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(
        ["*latency_p90 = 2.1 ms, limits 0.5 to 2: fail*", "*latency_p90 = 1.9 ms  (0.5 to 2: marginal)*"]
    )
    suite = next(iter(ET.parse(outside.path / "junit.xml").getroot()))
    of_suite = {one.get("name"): one.get("value") for one in suite.findall("properties/property")}
    assert {"rig", "rig_features", "git_commit", "python_version", "edgewright_version"} <= set(of_suite)
    assert of_suite["rig"] == "local"
    of_tests = [one.get("value") for one in suite.findall("testcase/properties/property")]
    assert "latency_p90 = 1.9 ms, limits 0.5 to 2: marginal" in of_tests
    page = (outside.path / "page.html").read_text()
    assert "<script>alert" not in page
    found = ask(
        page,
        """return {verdicts: [...document.querySelectorAll("table tr td:last-child .verdict")].map(e => e.textContent),
        charts: document.querySelectorAll(".chart svg").length, wide: document.documentElement.scrollWidth > innerWidth,
        facts: [...document.querySelectorAll(".facts th")].map(e => e.textContent)};""",
        tmp_path,
        dark=True,
    )
    assert isinstance(found, dict)
    assert found["verdicts"] == [
        "pass",
        "no limit",
        "marginal",
        "no limit",
        "fail",
        "no limit",
        "fail",
        "no limit",
    ]
    assert found["charts"] == 4
    assert not found["wide"]
    assert {"rig", "git commit"} <= set(found["facts"])
    narrow = ask(
        page,
        """return {wide: document.documentElement.scrollWidth > innerWidth,
        beyond: [...document.querySelectorAll(".measured td, .facts td, .tests td, .chart svg")]
            .filter(e => e.getBoundingClientRect().right > innerWidth).length,
        bad: [...document.querySelectorAll(".broken a")].map(e => document.querySelector(e.getAttribute("href")).textContent.includes("failed"))};""",
        tmp_path,
        width=390,
    )
    assert narrow == {"wide": False, "beyond": 0, "bad": [True, True]}, "a phone shows all of it"


def test_workers_of_xdist_hand_on_what_they_measured(outside: pytest.Pytester) -> None:
    outside.makepyfile(MEASURING.replace(", 2.1, math.nan", ""))
    done = outside.runpytest_subprocess("--rig", "local", "-n", "2", "--rig-report", "page.html")
    done.assert_outcomes(passed=2)
    page = (outside.path / "page.html").read_text()
    assert page.count("latency_p90") == 2
    assert "rig kind" in page


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--rig-report", "none/page.html", "*--rig-report none/page.html: there is no folder none."),
        ("--rig-results", ".", "*--rig-results .: expected a file, got a folder."),
        ("--rig-artifact", "none.ewa", "*--rig-artifact none.ewa: there is no such file."),
        ("--rig-against", "none.ewa", "*--rig-against none.ewa: there is no such file."),
        ("--rig-soak", "-1", "*--rig-soak: expected a number above 0 and at most 100000, got '-1'"),
        ("--rig-heat", "nan", "*--rig-heat: expected a finite number, got 'nan'"),
        (
            "--rig-offline-windows",
            "0",
            "*--rig-offline-windows: expected a whole number of at least 1, got '0'",
        ),
        ("--rig-rounds", "many", "*--rig-rounds: expected a whole number of at least 1, got 'many'"),
        ("--rig-slower-at-most", "nan", "*--rig-slower-at-most: expected a finite number, got 'nan'"),
        ("--rig-cuts", "-3", "*--rig-cuts: expected a whole number of at least 1, got '-3'"),
        ("--rig-cuts-minutes", "0", "*--rig-cuts-minutes: expected a number above 0*"),
    ],
)
def test_an_option_of_no_use_is_refused_before_anything_is_tested(
    outside: pytest.Pytester, option: str, value: str, said: str
) -> None:
    outside.makepyfile("def test_it(): pass")
    done = outside.runpytest_inprocess(f"{option}={value}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([said])


def test_a_session_whose_page_cannot_be_written_has_not_passed(outside: pytest.Pytester) -> None:
    outside.makepyfile('def test_it(): import shutil; shutil.rmtree("out")')
    outside.mkdir("out")
    done = outside.runpytest_subprocess("--rig-report", "out/page.html")
    done.assert_outcomes(passed=1)
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR
    done.stdout.fnmatch_lines(["ERROR: out/page.html: cannot be written: No such file or directory"])


def test_a_file_that_is_no_artifact_is_named_without_a_traceback(outside: pytest.Pytester) -> None:
    outside.makepyfile("def test_it(artifact): pass")
    (outside.path / "cut.ewa").write_bytes(b"PK\x03\x04 and no more")
    done = outside.runpytest_subprocess("--rig", "local", "--rig-artifact", "cut.ewa")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["cut.ewa: expected a member's header at byte 0*"])
    done.stdout.no_fnmatch_line("*raise *Error*")


def test_agents_of_tests_with_one_name_are_apart_and_what_a_test_leaves_is_mended(
    outside: pytest.Pytester,
) -> None:
    long = "a" * 60
    outside.makepyfile(
        test_one=f"""
        def test_it(agent, broker):
            assert agent.device == "test_it-0"
            agent.to("off")
            broker.kill()
        def test_{long}_one(agent): assert agent.device.endswith("a-0")
        """,
        test_two=f"""
        def test_it(agent, broker):
            assert (agent.device, agent.state) == ("test_it-1", "booted")
            assert broker.is_running
        def test_{long}_two(agent): assert agent.device.endswith("a-1")
        """,
    )
    done = outside.runpytest_subprocess("--rig", "local", "--rig-artifact", "null")
    done.assert_outcomes(passed=4)


def test_the_plugin_is_light_where_nobody_asks_for_a_rig() -> None:
    import subprocess
    import sys

    script = "import sys, hil.plugin, json; print(json.dumps([n for n in ('numpy', 'onnx', 'jinja2', 'matplotlib', 'paho') if n in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
