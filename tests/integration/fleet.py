"""A real authority on loopback, devices that enrol at it, and a real broker that goes by its certificates."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from device_agent.durable import write_durably
from device_agent.enrolment.enrol import enrol, read_token
from host_tools.authority.folder import AuthorityFolder, create_authority
from host_tools.authority.server import listen
from host_tools.authority.service import EnrolmentService
from tests.integration.support import Mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device_agent.enrolment.enrol import Enrolled

DAY = timedelta(days=1)
ACL = """\
pattern write ew/v1/device/%u/#
pattern read ew/v1/device/%u///i/#
pattern read ew/v1/device/%u///cmd/#
pattern read ew/v1/device/%u///twin/desired
"""


class Fleet:
    """One authority and its server, whose clock (not TLS's) is ``shift_seconds`` ahead."""

    def __init__(self, path: Path, *, device_lifetime: timedelta = DAY) -> None:
        self.shift_seconds = 0.0
        made = create_authority(path, name=f"fleet {path.name}", lifetime=timedelta(days=30))
        self.folder = AuthorityFolder(made.path, wall_seconds=lambda: time() + self.shift_seconds)
        self.service = EnrolmentService(self.folder, device_lifetime=device_lifetime, list_lifetime=DAY)
        self.url = ""

    @contextmanager
    def serving(
        self, *, names: tuple[str, ...] = ("127.0.0.1", "localhost"), lifetime: timedelta = DAY
    ) -> Iterator[Fleet]:
        with listen(
            self.folder, self.service, host="127.0.0.1", port=0, names=names, lifetime=lifetime
        ) as server:
            before, self.url = self.url, f"https://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
                self.url = before

    def token(self, device: str = "dev-1", *, hours: float = 1.0, url: str = "") -> str:
        return self.folder.token(url=url or self.url, device=device, lifetime=timedelta(hours=hours))

    def enrol(self, path: Path, device: str = "dev-1", *, token: str = "", **options: object) -> Enrolled:
        read = read_token(token or self.token(device), device=device)
        return enrol(path, read, device=device, **options)  # type: ignore[arg-type]

    def server_files(self, out: Path, *names: str, lifetime: timedelta = DAY) -> Path:
        """Key, certificate, authority and list of revoked certificates for a broker or a web server."""
        out.mkdir(parents=True, exist_ok=True)
        key, certificate = self.folder.certify_server(names or ("127.0.0.1", "localhost"), lifetime=lifetime)
        write_durably(out / "server.key", key, mode=0o600)
        (out / "server.crt").write_text(certificate)
        (out / "ca.crt").write_text(self.folder.signer.pem)
        (out / "crl.pem").write_text(self.folder.revocation_list(lifetime=DAY))
        return out

    def broker(
        self, out: Path, *extra: str, names: tuple[str, ...] = (), lifetime: timedelta = DAY
    ) -> Mosquitto:
        """The broker of ``docs/enrolment.md``."""
        files = self.server_files(out, *names, lifetime=lifetime)
        (files / "acl").write_text(ACL)
        return Mosquitto(
            out,
            f"cafile {files}/ca.crt",
            f"certfile {files}/server.crt",
            f"keyfile {files}/server.key",
            f"crlfile {files}/crl.pem",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            f"acl_file {files}/acl",
            *(extra or ("tls_version tlsv1.2",)),
        )


class RawServer:
    """Listens, and gives every connection, in a thread of its own, to ``talk``."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._talk = talk
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._talk(connection)
        except OSError:
            return

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
