"""The suites that ship pass whole on the rig `ssh`: a real sshd of this user's own, on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hil.suite_session import lacking, run_suites
from tests.hil.test_hil_suites import SESSIONS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(1900)  # what it waits for has limits of its own


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session[0])
def test_the_suites_pass_on_the_ssh_rig(tmp_path: Path, sshd: Path, session: tuple[str, ...]) -> None:
    # The windows are many enough for a spool of the smallest size to be full.
    options = ("--rig-soak=3", "--rig-offline-windows=40")
    said = run_suites(tmp_path, *session, rig=str(sshd), options=options)
    assert lacking(said) <= {"interface", "write_protection"}
    assert "measurements" in said
    assert not (sshd.parent / "board").exists(), "what was put on the board is taken away again"
