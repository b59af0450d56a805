"""A signed repository behind a real HTTP server on loopback that can be told to misbehave, and a device that asks it."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuf.api.metadata import Metadata

from device_agent.update.child import do
from device_agent.update.jobs import CheckJob, FetchJob, Network, TrialJob
from device_agent.update.occurrences import Offered
from device_agent.update.state import Candidate
from device_agent.update.store import Store
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.support import write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device_agent.update.jobs import Answer

TARGET = "x86_64-onnxruntime"


class Server:
    """Serves a folder; ``answers`` holds, by the end of a path, what is sent instead: bytes, or pieces with pauses before them."""

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, bytes | Callable[[], Iterator[tuple[float, bytes]]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.cut_after: int | None = None
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers.get("Range", "")))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.answer()

            def answer(self) -> None:
                path = folder / self.path.lstrip("/")
                ends = [found for end, found in server.answers.items() if self.path.endswith(end)]
                if ends and callable(ends[0]):
                    self.send_response(200)
                    self.end_headers()
                    for pause, piece in ends[0]():
                        time.sleep(pause)
                        self.wfile.write(piece)
                    return
                data = ends[0] if ends else path.read_bytes() if path.is_file() else None
                if not isinstance(data, bytes):
                    self.send_error(404)
                    return
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                self.wfile.write(data[start : None if server.cut_after is None else start + server.cut_after])

            def log_message(self, *_: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class Fleet:
    """A repository, its server, and one device's folder."""

    def __init__(self, folder: Path, *, tls: ssl.SSLContext | None = None) -> None:
        self.folder = folder
        self.repository = Repository(folder / "repository", KeyRing(folder / "keys"))
        self.root = self.repository.init()
        self.server = Server(folder / "repository", tls)
        self.store = Store(folder / "device" / "store")

    def offer(self, artifact: Path, *, counter: int, subject: str = "device/dev-1", **options: Any) -> str:
        path = self.repository.add(artifact, release_counter=counter)
        self.repository.release(subject, [path], **options)
        return path

    def expire_timestamp(self) -> None:
        """Sign a timestamp that has expired, as one that nobody has signed anew in time."""
        path = self.metadata("timestamp.json")
        metadata = Metadata.from_file(str(path))
        metadata.signed.expires = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=1)
        metadata.signed.version += 1
        (signer,) = self.repository._keys.of("timestamp")
        metadata.sign(signer)
        metadata.to_file(str(path))

    def network(self, **changes: Any) -> Network:
        settings: dict[str, Any] = {"stall_seconds": 5.0, "min_bytes_per_second": 1.0} | changes
        return Network(url=self.server.url, tls_ca=None, tls_cert=None, tls_key=None, **settings)

    def check(self, **options: Any) -> Answer:
        return self.do(self.check_job(**options))

    def check_job(
        self, *, device: str = "dev-1", targets: tuple[str, ...] = (TARGET,), **network: Any
    ) -> CheckJob:
        return CheckJob(
            network=self.network(**network),
            root=str(self.root),
            cache=str(self.folder / "device" / "metadata"),
            subjects=(f"device/{device}", "group/lab"),
            device=device,
            targets=targets,
        )

    def fetch(self, offer: Offered, **network: Any) -> Answer:
        candidate = Candidate(
            release=offer.release, size_bytes=offer.size_bytes, path=offer.path, serial=offer.serial
        )
        return self.do(
            FetchJob(
                network=self.network(**network),
                store=str(self.folder / "device" / "store"),
                candidate=candidate,
            )
        )

    def part(self, offer: Offered) -> Path:
        return self.store.path(offer.release.digest).with_suffix(".part")

    @staticmethod
    def do(job: CheckJob | FetchJob | TrialJob) -> Answer:
        """Do a job as the child process does, but here."""
        import io

        return do(job, frames=io.BytesIO(), answers=io.BytesIO())

    def metadata(self, name: str) -> Path:
        return self.folder / "repository" / "metadata" / name


def config_of(fleet: Fleet, folder: Path, device: str, port: int, delivered: Path) -> Path:
    """Write the configuration of a device of group ``lab`` that follows a repository, quickly."""
    folder.mkdir()
    return write_config(
        folder,
        port,
        delivered,
        device={"id": device, "targets": [TARGET]},
        update={
            "url": fleet.server.url,
            "root": str(fleet.root),
            "directory": "updates",
            "group": "lab",
            "first_check_seconds": 0.2,
            "check_interval_seconds": 0.5,
            "require_synced_clock": False,
            "shadow_frames": 0,
            "probation_seconds": 0.3,
            "probation_inferences": 5,
            "probation_p95_ratio": 1000.0,  # so that it is the fleet that finds it, and not each device
        },
    )
