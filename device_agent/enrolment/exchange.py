"""HTTPS with the authority: one request a connection, an answer bounded in size, all of it bounded in time. No redirects."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from time import time
from typing import TYPE_CHECKING, Final

from device_agent.contract import claim_token
from device_agent.contract import enrolment as wire
from device_agent.contract.errors import ContractError, DeviceError, TransferError, TrustError
from device_agent.tls import is_clock_problem, problem_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_SECONDS: Final = 30.0
"""For a whole request with its answer, however slowly it drips."""


class RefusedError(TrustError):
    """The authority refuses; ``refusal`` is the refusal's stable name."""

    code = "enrolment_refused"

    def __init__(self, refusal: wire.Refusal) -> None:
        super().__init__(f"the authority refuses ({refusal.code}): {refusal.message}", hint=refusal.hint)
        self.refusal = refusal.code


class ClockError(DeviceError):
    """The device's clock is wrong, so nothing that has a date can be trusted or refused."""

    code = "clock"


class AuthorityServer:
    """The authority as the device reaches it.

    Args:
        url: Its address.
        deadline_seconds: For every request.
        wall_seconds: This device's clock.

    Every request raises:
        TransferError: It cannot be reached, or breaks off; try again.
        RefusedError: It says no, and why.
        ContractError: It answers something that is no answer.
        ClockError: Its certificate is refused for its dates.
        TrustError: Its certificate is refused for another reason.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        wall_seconds: Callable[[], float] = time,
    ) -> None:
        self._host, self._port, self._prefix = claim_token.split_url(url)
        self._deadline_seconds = deadline_seconds
        self._wall_seconds = wall_seconds
        self._where = f"{self._host}:{self._port}"

    def authority(self) -> wire.AuthorityAnswer:
        """Ask for the authority's certificate. Whoever answers is believed only if the token names what comes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = (
            ssl.CERT_NONE
        )  # nothing secret is sent, and what comes is held against the token's digest
        answer = self._ask(context, "GET", wire.AUTHORITY_PATH, None)
        return wire.decode_authority(answer, where=self._where)

    def enrol(self, request: wire.EnrolRequest, *, authority: str) -> wire.Issued:
        """Send the token's secret and the signing request to the server that ``authority`` (PEM) has certified."""
        answer = self._ask(_held_to(authority), "POST", wire.ENROL_PATH, wire.encode(request))
        return wire.decode_issued(answer, where=self._where)

    def renew(self, request: wire.RenewRequest, *, authority: str) -> wire.Issued:
        """Ask for the next certificate."""
        answer = self._ask(_held_to(authority), "POST", wire.RENEW_PATH, wire.encode(request))
        return wire.decode_issued(answer, where=self._where)

    def _ask(self, context: ssl.SSLContext, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Connection": "close", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        late = threading.Event()
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=self._deadline_seconds, context=context
        )
        try:
            with contextlib.closing(connection), self._deadline(connection, late):
                connection.connect()
                if late.is_set():  # in the middle of the handshake there is no line yet that could be cut
                    raise TimeoutError
                connection.request(method, self._prefix + path, body=body, headers=headers)
                answer = connection.getresponse()
                data = answer.read(wire.MAX_MESSAGE_BYTES + 1)
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
        ) as error:  # ValueError: of a status or length that is none
            raise self._failed(error, late=late.is_set()) from error
        if late.is_set():
            raise self._failed(TimeoutError(), late=True)
        if len(data) > wire.MAX_MESSAGE_BYTES:
            raise ContractError(f"{self._where}: answered more than {wire.MAX_MESSAGE_BYTES} bytes.")
        if answer.length:
            raise TransferError(
                f"{self._where}: the answer broke off, {answer.length} bytes before its end.",
                hint="Try again.",
            )
        if answer.status == http.client.OK:
            return data
        raise self._refused(answer.status, data)

    @contextlib.contextmanager
    def _deadline(self, connection: http.client.HTTPSConnection, late: threading.Event) -> Iterator[None]:
        """Cut the line when time is up: a timeout of the socket alone begins anew with every byte."""

        def cut() -> None:
            late.set()
            with contextlib.suppress(OSError, AttributeError):  # not connected yet, or closed already
                connection.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._deadline_seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _failed(self, error: Exception, *, late: bool) -> ClockError | TrustError | TransferError:
        if late or isinstance(error, TimeoutError):
            return TransferError(
                f"{self._where}: no whole answer within {self._deadline_seconds:g} s.", hint="Try again."
            )
        if isinstance(error, OSError):
            text = problem_text(error, peer=self._where, wall_seconds=self._wall_seconds())
            if is_clock_problem(error):
                return ClockError(text)
            if isinstance(error, ssl.SSLCertVerificationError):
                return TrustError(text)
            return TransferError(
                f"the authority cannot be reached: {text}", hint="Try again; nothing is lost."
            )
        return TransferError(f"{self._where}: does not speak HTTP: {type(error).__name__}: {error!s:.200}.")

    def _refused(self, status: int, data: bytes) -> RefusedError | TransferError:
        try:
            return RefusedError(wire.decode_refusal(data, where=self._where))
        except ContractError:
            return TransferError(
                f"{self._where}: answered HTTP status {status} without a reason.",
                hint="Is it the authority's address? Try again later.",
            )


def _held_to(authority: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority)
    return context
