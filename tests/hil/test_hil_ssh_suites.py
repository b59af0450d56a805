"""The suites that ship pass whole on the rig `ssh`: a real sshd of this user's own, on loopback.

All but the days offline and the heat that lasts, whose hurried agents have not been seen to keep up over SSH.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hil.suite_session import lacking, run_suites
from tests.hil.test_hil_suites import SESSIONS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)  # what it waits for has limits of its own


_HURRIED = "test_offline"


@pytest.mark.slow
@pytest.mark.parametrize(
    "session", [one for one in SESSIONS if _HURRIED not in one], ids=lambda session: session[0]
)
def test_the_suites_pass_on_the_ssh_rig(tmp_path: Path, sshd: Path, session: tuple[str, ...]) -> None:
    options = ("--rig-soak=3",)
    said = run_suites(tmp_path, *session, rig=str(sshd), options=options)
    assert lacking(said) <= {"interface", "write_protection"}
    assert "measurements" in said
    assert not (sshd.parent / "board").exists(), "what was put on the board is taken away again"
