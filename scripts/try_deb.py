"""Install the agent's package on a clean Debian 12, boot it, use it, upgrade it, remove it: ``python scripts/try_deb.py``.

As root; `make deb-check` does. The clean system is made once, by mmdebstrap from this machine's own package sources, and kept in
.cache/; every run unpacks it anew and boots it with systemd-nspawn, so that the unit runs under the init system, the limits and
the sandbox that it will have on a device. Nothing is left behind but the cache. What a step found is printed; the first that
finds something wrong ends it with status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from build_deb import NAME, build  # noqa: E402  the path comes first

from hil.errors import RigError  # noqa: E402
from hil.null_artifact import write_null_artifact  # noqa: E402
from hil.virtual.debian import debian_sources  # noqa: E402
from host_tools.pack import null_artifact  # noqa: E402
from host_tools.repository.keys import KeyRing  # noqa: E402
from host_tools.repository.repository import Repository  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = ROOT / ".cache" / "debian-12"
RELEASE = "bookworm"
OLDER = "0.0.1"
"""Version of the package that is upgraded: the same files, for there is no older release yet."""
UNIT = f"{NAME}.service"
MOST_EXPOSED = 30
"""In tenths; systemd calls 30 and below OK."""
BOOT_SECONDS = 120.0
WAIT_SECONDS = 60.0
DEVICE = "clean-debian"
CONFIG = """\
[device]
id = "{device}"

[artifact]
path = "/var/lib/edgewright/model.ewa"

[source]
rate_hz = 50

[mqtt]
host = "127.0.0.1"  # a minimal system has no /etc/hosts
port = {port}

[telemetry]
interval_seconds = 1

[spool]
path = "/var/lib/edgewright/spool.db"

[log]
format = "journal"
"""
UPDATE = """
[update]
url = "{url}"
root = "/etc/edgewright/root.json"
directory = "/var/lib/edgewright/updates"
first_check_seconds = 1
check_interval_seconds = 5
require_synced_clock = false
shadow_frames = 5
probation_seconds = 1
probation_p95_ratio = 1000
"""


class CheckFailedError(Exception):
    """A step did not find what it should."""


def main() -> int:
    """Do every step, and say what each found."""
    parser = argparse.ArgumentParser(description="Try the agent's Debian package on a clean Debian 12.")
    parser.add_argument("--fresh", action="store_true", help="make the clean system anew")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="try-deb-") as folder:
            work = Path(folder)
            older, newer = build(work / "older", version=OLDER), build(work / "newer")
            system = unpacked(work / "system", fresh=arguments.fresh)
            port = free_port()
            with broker(port, work), booted(system) as guest:
                install(guest, older, "older")
                use(guest, port)
                take_update(guest, work)
                upgrade(guest, newer)
                leave(guest)
    except (CheckFailedError, RigError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print("The package installs on a clean Debian 12, runs, is upgraded and leaves nothing behind.")
    return 0


# --- the clean system ---


def unpacked(folder: Path, *, fresh: bool) -> Path:
    """Return a folder with the clean system in it."""
    subprocess.run(
        [
            ROOT / "scripts/system-packages",
            "mmdebstrap",
            "systemd-container",
            "mosquitto",
            "mosquitto-clients",
        ],
        check=True,
    )
    packed = CACHE / "root.tar"
    if fresh or not packed.is_file():
        made = CACHE / "root.tar.part"
        CACHE.mkdir(parents=True, exist_ok=True)
        say(f"making a minimal {RELEASE}")
        run(
            ["mmdebstrap", "--quiet", "--variant=minbase", "--include=init", "--skip=cleanup/apt/lists",
             "--format=tar", RELEASE, str(made), "-"],
            text=debian_sources(RELEASE),
        )  # fmt: skip
        made.rename(packed)
    folder.mkdir()
    run(["tar", "--directory", str(folder), "--extract", "--file", str(packed), "--numeric-owner"])
    (folder / "etc/hostname").write_text(f"{DEVICE}\n")
    packages = CACHE / "packages"
    packages.mkdir(exist_ok=True)
    for one in packages.glob("*.deb"):  # what was fetched before is not fetched again
        shutil.copy(one, folder / "var/cache/apt/archives" / one.name)
    (folder / "etc/apt/apt.conf.d/docker-clean").unlink(missing_ok=True)
    (folder / "etc/apt/apt.conf.d/99keep").write_text('APT::Keep-Downloaded-Packages "true";\n')
    return folder


class Guest:
    """The clean system, booted; commands are run in it, as from a root shell.

    Args:
        init: Process id of its init system, as this machine sees it.
        folder: Its root.
    """

    def __init__(self, init: int, folder: Path) -> None:
        self._init = init
        self.folder = folder

    def run(self, command: str, *, status: int = 0) -> str:
        """Run a shell command; return its standard output.

        Raises:
            CheckFailedError: It ended with another status.
        """
        inside = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
        shell = ["env", "-i", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*inside, *shell, "DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != status:
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise CheckFailedError(f"{command}: status {done.returncode}, expected {status}:\n{said}")
        return done.stdout.strip()

    def wait(self, command: str, wanted: str, *, seconds: float = WAIT_SECONDS) -> None:
        """Run a command until its output has a text."""
        deadline, found = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            with contextlib.suppress(CheckFailedError):
                found = self.run(f"{command} || true")
            if wanted in found:
                return
            time.sleep(0.3)
        raise CheckFailedError(f"{command}: expected {wanted!r} within {seconds:g} s, got: {found[-1500:]}")


@contextlib.contextmanager
def booted(folder: Path) -> Iterator[Guest]:
    """Boot the system, sharing this machine's network; power it off at the end."""
    container = subprocess.Popen(
        ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe", "--directory", folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        guest = Guest(init_of(container), folder)
        guest.wait("systemctl is-system-running", "running", seconds=BOOT_SECONDS)
        yield guest
    finally:
        container.terminate()  # an orderly power-off; again: at once
        with contextlib.suppress(subprocess.TimeoutExpired):
            container.wait(30)
        container.kill()
        container.wait()


def init_of(container: subprocess.Popen[str]) -> int:
    """Return the process id of the init system that a container runs."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline and container.poll() is None:
        for child in children.read_text().split():
            below = Path(f"/proc/{child}/comm")
            if below.is_file() and below.read_text().strip() == "systemd":
                return int(child)
        time.sleep(0.1)
    said = "" if container.poll() is None or container.stderr is None else container.stderr.read()
    raise CheckFailedError(
        f"systemd-nspawn does not boot the system here: {said.strip() or 'no init came up'}"
    )


# --- the steps ---


def install(guest: Guest, package: Path, what: str) -> None:
    """Install the package with apt, its dependencies from Debian."""
    shutil.copy(package, guest.folder / "root" / package.name)
    guest.run(f"apt-get install -y -qq /root/{package.name}")
    for one in (guest.folder / "var/cache/apt/archives").glob("*.deb"):
        shutil.copy(one, CACHE / "packages" / one.name)
    version = guest.run(f"dpkg-query -W -f '${{Version}} ${{Status}}' {NAME}")
    say(f"installed the {what} package: {version}")
    guest.run("getent passwd edgewright")
    expect(guest.run(f"systemctl is-enabled {UNIT}"), "enabled")
    # Without a configuration it is not begun, and that is no failure.
    expect(guest.run(f"systemctl is-active {UNIT} || true"), "inactive")
    expect(guest.run("systemctl --failed --no-legend"), "")


def use(guest: Guest, port: int) -> None:
    """Run the commands, then the service with the null engine against a broker."""
    say(f"{guest.run(f'{NAME} --version')} on Python {guest.run('python3 --version').split()[-1]}")
    sensors = json.loads(guest.run(f"{NAME} sensors --json"))
    say(
        f"sensors: {len(sensors['readings'])} readings, {len(sensors['missing'])} sources missing with a reason"
    )
    guest.run(f"systemd-analyze verify /lib/systemd/system/{UNIT}")
    judged = guest.run(f"systemd-analyze security --no-pager --threshold={MOST_EXPOSED} {UNIT}")
    say(judged.splitlines()[-1].strip("→ "))
    write_null_artifact(guest.folder / "var/lib/edgewright/model.ewa")
    config = guest.folder / "etc/edgewright/agent.toml"
    config.write_text(CONFIG.format(device=DEVICE, port=port))
    guest.run(f"{NAME} check --config /etc/edgewright/agent.toml")
    guest.run(f"systemctl start {UNIT}")  # Type=notify: it comes back when the self-test has passed
    expect(guest.run(f"systemctl show -P StatusText {UNIT}"), "up")
    heard(port, "m/inference", least=3)
    say("runs as a service; its windows reach the broker")
    process = guest.run(f"systemctl show -P MainPID {UNIT}")
    expect(guest.run(f"stat -c %U /proc/{process}"), "edgewright")
    guest.run(f"{NAME} status --config /etc/edgewright/agent.toml")
    guest.run(f"systemctl kill --signal=KILL {UNIT}")
    guest.wait(f"systemctl show -P NRestarts,ActiveState {UNIT}", "active")
    guest.wait(f"systemctl show -P NRestarts {UNIT}", "1")
    say("killed, and begun again by systemd")


def take_update(guest: Guest, work: Path) -> None:
    """Let the service take another artifact from a signed repository, with what the package brings and nothing else."""
    repository = Repository(work / "repository", KeyRing(work / "keys"))
    shutil.copyfile(repository.init(), guest.folder / "etc/edgewright/root.json")
    null_artifact.write_null_artifact(
        work / "next.ewa",
        {"latency_seconds": 0.002},
        name="nothing",
        version="2.0.0",
        made_with={},
        agent_min_version="0.0.1",
    )
    path = repository.add(work / "next.ewa", release_counter=1)
    repository.release(f"device/{DEVICE}", [path])
    config = guest.folder / "etc/edgewright/agent.toml"
    with served(work / "repository") as url:
        config.write_text(config.read_text() + UPDATE.format(url=url))
        guest.run(f"{NAME} check --config /etc/edgewright/agent.toml")
        guest.run(f"systemctl restart {UNIT}")
        guest.wait(f"{NAME} status --config /etc/edgewright/agent.toml", "model     nothing 2.0.0")
        guest.wait(f"{NAME} status --config /etc/edgewright/agent.toml", "release counter at least 1")
    say("took an update from a signed repository, and kept it")


def upgrade(guest: Guest, package: Path) -> None:
    """Upgrade while the service runs; configuration, model and spool stay."""
    kept = ("etc/edgewright/agent.toml", "var/lib/edgewright/model.ewa")
    before = [(guest.folder / name).read_bytes() for name in kept]
    process = guest.run(f"systemctl show -P MainPID {UNIT}")
    shutil.copy(package, guest.folder / "root" / package.name)
    guest.run(f"apt-get install -y -qq /root/{package.name}")
    guest.wait(f"systemctl is-active {UNIT}", "active")
    if guest.run(f"systemctl show -P MainPID {UNIT}") == process:
        raise CheckFailedError("the service was not begun anew by the upgrade")
    if before != [(guest.folder / name).read_bytes() for name in kept]:
        raise CheckFailedError("the upgrade changed the configuration or the model")
    version = guest.run(f"dpkg-query -W -f '${{Version}}' {NAME}")
    say(f"upgraded to {version}; the configuration is the same, the new agent runs")


def leave(guest: Guest) -> None:
    """Remove, which keeps what is the device's; install again; purge, which leaves nothing."""
    guest.run(f"apt-get remove -y -qq {NAME}")
    expect(guest.run(f"systemctl is-active {UNIT} || true"), "inactive")
    expect(
        guest.run(f"ls /usr/lib/{NAME} 2>&1 || true"),
        f"ls: cannot access '/usr/lib/{NAME}': No such file or directory",
    )
    guest.run("test -f /etc/edgewright/agent.toml && test -f /var/lib/edgewright/model.ewa")
    say("removed; configuration and state stay")
    guest.run(f"apt-get purge -y -qq {NAME}")
    left = guest.run(
        "ls -d /etc/edgewright /var/lib/edgewright /usr/lib/edgewright-agent /usr/bin/edgewright-agent "
        f"/lib/systemd/system/{UNIT} /etc/systemd/system/*/{UNIT} 2>/dev/null || true; getent passwd edgewright || true"
    )
    expect(left, "")
    expect(guest.run("systemctl --failed --no-legend"), "")
    say("purged; no file, unit or user is left")


# --- small parts ---


@contextlib.contextmanager
def broker(port: int, folder: Path) -> Iterator[None]:
    """A mosquitto on this machine's loopback."""
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on this machine's loopback; yield its address."""
    handler = functools.partial(SilentHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class SilentHandler(http.server.SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def heard(port: int, topic: str, *, least: int) -> None:
    """Wait for messages of the device at the broker."""
    run(
        ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-t", f"ew/v1/device/{DEVICE}///{topic}",
         "-C", str(least), "-W", f"{WAIT_SECONDS:.0f}"],
    )  # fmt: skip


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(command: list[str], *, text: str | None = None) -> str:
    """Run a command on this machine; return its standard output."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailedError(f"{command[0]}: status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def expect(found: str, wanted: str) -> None:
    """Hold what was found against what should be."""
    if found != wanted:
        raise CheckFailedError(f"expected {wanted!r}, got {found!r}")


def say(text: str) -> None:
    """Tell what a step found."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
