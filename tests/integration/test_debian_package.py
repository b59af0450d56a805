"""The Debian package: the same bytes from the same commit, and an agent that runs from it; the unit as systemd itself judges it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import TARGET, null_artifact, write_config
from tests.integration.update_repository import Fleet

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "deb" / "edgewright-agent.service"
NO_BROKER = 1
MOST_EXPOSED = 30
"""In tenths; systemd calls 30 and below OK."""


def build(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_deb.py", "--out", folder], check=True, capture_output=True
    )
    (package,) = folder.glob("*.deb")
    return package


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    package, again = build(folder / "one"), build(folder / "two")
    assert package.read_bytes() == again.read_bytes()
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder / "tree"], check=True)
    return folder / "tree"


def test_the_agent_runs_from_the_package_and_from_nowhere_else(tree: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), source={"max_frames": 5})
    launcher = tree / "usr/bin/edgewright-agent"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-v", launcher, "run", "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = re.findall(r"code object from '?(\S+/(?:device_agent|paho)/\S+\.py)", done.stderr)
    assert loaded
    assert all(path.startswith(str(tree)) for path in loaded)


def test_the_package_has_what_updates_need_and_asks_a_repository_with_it(tree: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet")
    fleet.offer(null_artifact(tmp_path / "b.ewa"), counter=1)
    update = {"url": fleet.server.url, "root": str(fleet.root), "directory": str(tmp_path / "updates")}
    config = write_config(
        tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), device={"targets": [TARGET]}, update=update
    )
    launcher = tree / "usr/bin/edgewright-agent"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-v", launcher, "check", "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "can be trusted; small 1.2.0 is wanted" in done.stdout
    loaded = re.findall(r"code object from '?(\S+/(?:tuf|securesystemslib)/\S+\.py)", done.stderr)
    assert loaded
    assert all(path.startswith(str(tree)) for path in loaded)
    assert "import 'urllib3'" not in done.stderr
    documents = tree / "usr/share/doc/edgewright-agent"
    assert (documents / "tuf/LICENSE-MIT").is_file()
    assert (documents / "securesystemslib/LICENSE").is_file()
    assert (documents / "paho-mqtt/epl-v20").is_file()


def test_the_package_holds_no_host_no_tests_and_no_bytecode(tree: Path) -> None:
    names = {path.relative_to(tree).as_posix() for path in tree.rglob("*")}
    assert "usr/lib/edgewright-agent/device_agent/contract/schema/telemetry.v1.json" in names
    assert not [name for name in names if "host_tools" in name or "tests" in name or name.endswith(".pyc")]
    assert (tree / "DEBIAN/postinst").stat().st_mode & 0o777 == 0o755


def test_systemd_takes_the_unit_and_finds_it_little_exposed(tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "make test installs systemd"
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert UNIT.name not in verified.stderr, verified.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout + judged.stderr
