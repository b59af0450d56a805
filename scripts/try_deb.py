"""Install the agent's package on a clean Debian 12, boot it, use it, upgrade it, remove it: ``python scripts/try_deb.py``.

As root; `make deb-check` does. The clean system (`debian_guest`) is booted with systemd-nspawn, so that the unit runs under the init
system, the limits and the sandbox that it will have on a device. Nothing is left behind but its cache. What a step found is printed;
the first that finds something wrong ends it with status 1.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from build_deb import NAME, build  # noqa: E402  the path comes first
from debian_guest import (  # noqa: E402
    CACHE,
    CheckFailedError,
    Guest,
    booted,
    say,
    unpacked,
)
from guest_network import broker, free_port, heard, served  # noqa: E402

from hil.errors import RigError  # noqa: E402
from hil.null_artifact import write_null_artifact  # noqa: E402
from host_tools.pack import null_artifact  # noqa: E402
from host_tools.repository.keys import KeyRing  # noqa: E402
from host_tools.repository.repository import Repository  # noqa: E402

OLDER = "0.0.1"
"""Version of the package that is upgraded: the same files, for there is no older release yet."""
UNIT = f"{NAME}.service"
MOST_EXPOSED = 30
"""In tenths; systemd calls 30 and below OK."""
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


def main() -> int:
    """Do every step, and say what each found."""
    parser = argparse.ArgumentParser(description="Try the agent's Debian package on a clean Debian 12.")
    parser.add_argument("--fresh", action="store_true", help="make the clean system anew")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="try-deb-") as folder:
            work = Path(folder)
            older, newer = build(work / "older", version=OLDER), build(work / "newer")
            system = unpacked(work / "system", name=DEVICE, fresh=arguments.fresh)
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
    heard(port, "m/inference", device=DEVICE, least=3)
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


def expect(found: str, wanted: str) -> None:
    """Hold what was found against what should be."""
    if found != wanted:
        raise CheckFailedError(f"expected {wanted!r}, got {found!r}")


if __name__ == "__main__":
    sys.exit(main())
