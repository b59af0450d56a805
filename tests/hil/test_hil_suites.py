"""Every suite that ships passes on `local`, with an artifact that was brought."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hil.artifact import sample_artifact
from tests.hil.suite_session import ROOT, lacking, run_suites

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(1900)

SESSIONS = [
    ("test_smoke", "test_enrolment", "test_parity", "test_latency", "test_soak"),
    ("test_heat", "test_supplies", "test_telemetry_loss"),
    ("test_offline", "test_sustained_heat"),
    ("test_update_faults", "test_corrupt_block"),
    ("test_power_cuts",),
]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_artifact(tmp_path_factory.mktemp("sample"), "x86_64-onnxruntime")


def test_every_suite_is_among_the_sessions() -> None:
    # The templates of rigs are in test_hil_rigs.py, what needs two artifacts in test_hil_comparison.py.
    shipped = {path.stem for path in (ROOT / "hil" / "suites").glob("test_*.py")} - {
        "test_rig",
        "test_rig_senses",
        "test_latency_comparison",
    }
    assert shipped == {one for session in SESSIONS for one in session}


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session[0])
def test_the_suites_pass_on_the_local_rig(tmp_path: Path, artifact: Path, session: tuple[str, ...]) -> None:
    options = (
        "--rig-report=page.html",
        f"--rig-artifact={artifact}",
        "--rig-soak=3",
        "--rig-offline-windows=60",
    )
    said = run_suites(tmp_path, *session, rig="local", options=options)
    assert lacking(said) <= {"interface", "write_protection"}
    assert "measurements" in said
    page = (tmp_path / "page.html").read_text()
    assert re.search(r"digest</th><td class=\"mono\">sha256:[0-9a-f]{64}<", page)
    assert "engine_loaded" in page, "the agent's log is on the page"
