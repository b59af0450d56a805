"""Build the agent's Debian package: ``python scripts/build_deb.py --out dist``; `make deb` does.

The package holds the agent, and paho, python-tuf and securesystemslib, which Debian 12 has in versions too old, or not; the rest comes
from Debian. It is for every architecture. Engines are not in it: which one a device needs, and for which processor, its owner knows.
The same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ROOT / "packaging" / "deb"
NAME = "edgewright-agent"
BUNDLED = {"paho-mqtt": "paho", "tuf": "tuf", "securesystemslib": "securesystemslib"}
"""Distributions that go into the package, pure Python all of them, each with the package of modules that it brings."""
CONTROL = """\
Package: {name}
Version: {version}
Section: misc
Priority: optional
Architecture: all
Depends: python3 (>= 3.11), python3-psutil (>= 5.9), adduser
Recommends: python3-cryptography
Maintainer: Edgewright <edgewright@localhost>
Installed-Size: {size_kib}
Description: runs a neural network on this device and reports over MQTT
 Verifies an artifact, runs it on frames, and reports latency, power, heat and
 health, with a spool that survives outages. Engines are installed apart:
 pip install --target /opt/edgewright/engines onnxruntime
"""


def main() -> None:
    """Build, and print the package's path."""
    parser = argparse.ArgumentParser(description="Build the agent's Debian package.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="folder that the package is written to"
    )
    out: Path = parser.parse_args().out
    print(build(out))


def build(out: Path, *, version: str = "") -> Path:
    """Build the package into ``out`` and return its path; with ``version`` it says that it is that one."""
    version = version or _version()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / NAME
        _fill(tree)
        size_kib = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024 + 1
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "control").write_text(
            CONTROL.format(name=NAME, version=version, size_kib=size_kib), encoding="utf-8"
        )
        for script in ("postinst", "prerm", "postrm"):
            _copy(PARTS / script, tree / "DEBIAN" / script, mode=0o755)
        for path in tree.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        package = out / f"{NAME}_{version}_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(package)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "SOURCE_DATE_EPOCH": _commit_seconds()},
        )
    return package


def _fill(tree: Path) -> None:
    library = tree / "usr/lib" / NAME
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "py.typed")
    shutil.copytree(ROOT / "device_agent", library / "device_agent", ignore=ignore)
    documents = tree / "usr/share/doc" / NAME
    for distribution, package in BUNDLED.items():
        for file in importlib.metadata.distribution(distribution).files or ():
            source = Path(str(file.locate()))
            if file.parts[0] == package and file.suffix == ".py" and not file.name.startswith("test_"):
                _copy(source, library / Path(*file.parts))
            elif "licenses" in file.parts:
                _copy(source, documents / distribution / file.name)
    for path in library.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    _copy(PARTS / NAME, tree / "usr/bin" / NAME, mode=0o755)
    _copy(PARTS / f"{NAME}.service", tree / "lib/systemd/system" / f"{NAME}.service")
    _copy(PARTS / "agent.toml", documents / "examples" / "agent.toml")
    _copy(ROOT / "docs" / "agent.md", documents / "agent.md")
    _copy(ROOT / "LICENSE", documents / "copyright")


def _copy(source: Path, target: Path, *, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _version() -> str:
    text = (ROOT / "device_agent" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'__version__: Final = "([0-9.]+)"', text)
    if match is None:
        raise SystemExit("device_agent/__init__.py has no __version__.")
    return match[1]


def _commit_seconds() -> str:
    """Return the commit's time, which every file of the package bears; 1 where there is no repository."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "1"


if __name__ == "__main__":
    main()
