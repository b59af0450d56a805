"""A real PostgreSQL (Debian's `postgresql`) of this test run's own: in a folder of its own, on a socket of its own, never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

START_SECONDS = 60.0
USER = "postgres"


class PostgresCluster:
    """Started by `start`; `kill` ends it as a power cut would, and what it had committed is there after the next start."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ew-pg-"))
        self._owner = pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._owner is not None:
            os.chown(self.folder, self._owner, -1)
        self._run(
            "initdb",
            "--pgdata",
            str(self._data),
            "--auth",
            "trust",
            "--username",
            "fleet",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--no-locale",
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> PostgresCluster:
        settings = (
            "listen_addresses=",
            f"unix_socket_directories={self.folder}",
            "fsync=off",
            "max_connections=50",
        )
        arguments = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", str(self._data), *arguments],
                stdout=log,
                stderr=log,
                user=self._owner,
                cwd="/",
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self._address("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
                assert time.monotonic() < deadline, "PostgreSQL does not answer"
                time.sleep(0.05)
            else:
                return self

    def database(self, name: str) -> str:
        """Make an empty database and return its address, as `open_store` takes it."""
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._address(name)

    def restart(self) -> None:
        """End every connection at once, whatever it does, and come back."""
        self._end(signal.SIGQUIT)  # "immediate": no goodbye, and recovery from the log afterwards
        self.start()

    def remove(self) -> None:
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            self._process = None

    def _address(self, database: str) -> str:
        return f"postgresql://fleet@/{database}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(program), *arguments], capture_output=True, user=self._owner, cwd="/", check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")


def _program(name: str) -> str:
    found = shutil.which(name)
    places = (
        [found]
        if found
        else [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    )
    assert places, f"PostgreSQL's {name} is not here: `make test` installs Debian's package `postgresql`"
    return places[-1]
