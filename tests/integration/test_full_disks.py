"""Disks that are full when something is asked for: nothing is left behind, and nobody else's room is taken."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.integration.support import null_artifact, write_config

if TYPE_CHECKING:
    from pathlib import Path

NO_BROKER = 1
DOWNLOAD = """
import http.server, os, sys, threading
from pathlib import Path
from device_agent.contract.digest import digest_of_file
from device_agent.contract.errors import StorageError
from device_agent.update.state import Candidate, Release
from device_agent.update.store import Store
from device_agent.update.transfer import HttpSource, TransferLimits, fetch_artifact, target_url

origin, disk = Path(sys.argv[1]), Path(sys.argv[2])
data = os.urandom(3 << 20)
(origin / "data").write_bytes(data)
digest = digest_of_file(origin / "data")
there = origin / target_url("", "models/a.ewa", digest).lstrip("/")
there.parent.mkdir(parents=True)
(origin / "data").rename(there)
class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments): super().__init__(*arguments, directory=str(origin))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
release = Release(digest=digest, name="a", version="1", counter=1)
candidate = Candidate(release=release, size_bytes=len(data), path="models/a.ewa", serial=1)
source = HttpSource(TransferLimits(stall_seconds=5.0, min_bytes_per_second=1.0, rate_window_seconds=30.0), None)
url = f"http://127.0.0.1:{server.server_address[1]}"
filler = disk / "filler"
filler.write_bytes(bytes(3 << 20))
before = os.statvfs(disk).f_bavail
try:
    fetch_artifact(source, Store(disk / "store"), candidate, base_url=url)
except StorageError as error:
    print(error)
assert os.statvfs(disk).f_bavail >= before - 2, "what is free stays free"
filler.unlink()
fetch_artifact(source, Store(disk / "store"), candidate, base_url=url)
assert Store(disk / "store").holds(digest)
"""


def on_a_small_disk(
    folder: Path, size: str, script: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a shell script that finds ``folder`` as a disk of that size, as ``$0``."""
    folder.mkdir()
    mounting = f'mount -t tmpfs -o size={size} none "$0" && {script}'
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mounting, str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_download_that_has_no_room_takes_none_and_is_made_when_there_is(tmp_path: Path) -> None:
    (tmp_path / "origin").mkdir()
    done = on_a_small_disk(
        tmp_path / "disk", "8m", '"$@"', sys.executable, "-c", DOWNLOAD,
        str(tmp_path / "origin"), str(tmp_path / "disk"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the download needs 3145728 bytes" in done.stdout


def test_a_full_disk_is_told_by_check_and_keeps_no_piece_of_a_bundle(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    config = write_config(
        tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), spool={"path": str(disk / "spool.db")}
    )
    agent = f'"{sys.executable}" -m device_agent'
    script = (
        'head -c 200k /dev/zero > "$0/filler"; '
        f'{agent} check --config "$1"; echo "check: $?"; '
        f'{agent} support-bundle --config "$1" --out "$0/b.tar.gz"; echo "bundle: $?"; ls "$0"'
    )
    done = on_a_small_disk(disk, "200k", script, str(config))
    assert "check: 7" in done.stdout, done.stderr
    assert "spool.path" in done.stderr
    assert done.stdout.endswith("bundle: 7\nfiller\n"), done.stdout + done.stderr
