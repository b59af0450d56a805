"""`EnrolmentService`: the protocol of `device_agent.contract.enrolment`, a request in, an answer out.

It knows no socket: `server` puts HTTPS around it, and so can any other server that hands it method, path and body.
Whatever is decided is written down in the same transaction, so that a request that comes again, because the answer
was lost or either side lost its power, gets the same certificate.
"""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Final, NoReturn

from device_agent.contract import claim_token
from device_agent.contract import enrolment as wire
from device_agent.contract.errors import ContractError
from host_tools.authority.certificates import (
    is_signed_by,
    key_digest,
    read_certificate,
    read_request,
)
from host_tools.authority.register import Entry

if TYPE_CHECKING:
    from cryptography import x509

    from host_tools.authority.certificates import SigningRequest
    from host_tools.authority.folder import AuthorityFolder
    from host_tools.authority.register import Book, Claim
    from host_tools.authority.register import Request as ApprovalRequest

_LOG = logging.getLogger("edgewright.authority")
_JSON: Final = "application/json"
_STATUS: Final = {
    "malformed": 400,
    "request_unusable": 400,
    "no_such_path": 404,
    "too_large": 413,
    "failed": 500,
}
_FORBIDDEN: Final = 403
_ASK: Final = "Ask the fleet's operator for a new token."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back: an HTTP status, a content type and a body."""

    status: int
    content_type: str
    body: bytes


class _RefusedError(Exception):
    def __init__(self, refusal: wire.Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class EnrolmentService:
    """Answers devices.

    Args:
        folder: The authority.
        device_lifetime: How long a device's certificate is valid.
        list_lifetime: How long the list of revoked certificates is.
    """

    def __init__(
        self, folder: AuthorityFolder, *, device_lifetime: timedelta, list_lifetime: timedelta
    ) -> None:
        self._folder = folder
        self._device_lifetime = device_lifetime
        self._list_lifetime = list_lifetime

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Answer one request; nothing is raised, whatever comes."""
        try:
            return self._routed(method, path, body)
        except _RefusedError as error:
            _LOG.warning("%s %s: refused (%s): %s", method, path, error.refusal.code, error.refusal.message)
            return refusal_answer(error.refusal)
        except ContractError as error:
            _LOG.warning("%s %s: malformed: %s", method, path, error)
            return refusal_answer(wire.Refusal(code="malformed", message=str(error)))
        except Exception:  # noqa: BLE001  whoever asks is told so, and nothing of what happened; the log has it
            _LOG.exception("%s %s: failed", method, path)
            return refusal_answer(
                wire.Refusal(
                    code="failed",
                    message="the authority itself failed; its log says why",
                    hint="Try again later.",
                )
            )

    def _routed(self, method: str, path: str, body: bytes) -> Answer:
        match method, path:
            case "GET", wire.AUTHORITY_PATH:
                return _answer(wire.AuthorityAnswer(authority=self._folder.signer.pem))
            case "GET", wire.CRL_PATH:
                listed = self._folder.revocation_list(lifetime=self._list_lifetime)
                return Answer(status=200, content_type="application/x-pem-file", body=listed.encode())
            case "POST", wire.ENROL_PATH:
                return _answer(self._enrol(wire.decode_enrol(body, where="enrol")))
            case "POST", wire.RENEW_PATH:
                return _answer(self._renew(wire.decode_renew(body, where="renew")))
        raise _RefusedError(
            wire.Refusal(
                code="no_such_path", message=f"{method} {path[:80]!a} is nothing that is answered here"
            )
        )

    def _enrol(self, request: wire.EnrolRequest) -> wire.Issued:
        asked, now = _read_request(request.csr), self._folder.wall_seconds()
        _require_name(asked, request.device)
        with self._folder.register.transaction() as book:
            claim = book.claim(claim_token.claim_digest(request.secret))
            if claim is None:
                _refuse("token_unknown", "no such token was given out by this authority", _ASK)
            _require_not_barred(book, request.device)
            if claim.device not in ("", request.device):
                _refuse("token_for_another_device", f"the token is not one for {request.device!r}", _ASK)
            if claim.spent_serial:
                return _bought_before(book, claim, asked, request.device)
            if claim.revoked_seconds is not None:
                _refuse("token_expired", "an operator has revoked the token", _ASK)
            if claim.expires_seconds < now and not book.has_asked(claim):
                _refuse("token_expired", "the token is no longer valid", _ASK)
            if not claim.device and _standing(book, request.device, now):
                _refuse(
                    "device_enrolled",
                    f"{request.device!r} has a certificate, and this token is not made out to it",
                    "Choose another device.id, or ask for a token that names this device.",
                )
            waiting = _awaited(book, claim, asked, request.device, now)
            if waiting is None:
                issued = self._issue(book, asked, request.device, now)
                book.spend(claim, issued.serial)
                if claim.group:
                    book.set_group(request.device, claim.group, now_seconds=now)
        if waiting is not None:  # refused only here, so that the request is written down
            _refuse_until_approved(waiting)
        _LOG.info("%s is enrolled: certificate %s", request.device, issued.serial)
        return wire.Issued(certificate=issued.pem)

    def _renew(self, request: wire.RenewRequest) -> wire.Issued:
        held, asked, now = (
            _read_held(request.certificate),
            _read_request(request.csr),
            self._folder.wall_seconds(),
        )
        with self._folder.register.transaction() as book:
            known = (
                book.certificate(f"{held.serial_number:x}") if self._folder.signer.has_signed(held) else None
            )
            if known is None or known.use != "device":
                _refuse(
                    "certificate_unknown",
                    "the certificate is not one that this authority gave a device",
                    _ASK,
                )
            _require_signature(request, held)
            _require_standing(known, held, now)
            if asked.names != (known.name,):
                _refuse(
                    "certificate_of_another_device",
                    f"the certificate is of {known.name!r}, and not of the device that the request names",
                )
            if asked.key_digest == key_digest(held.public_key()):
                _refuse("key_reused", "a new certificate needs a new key")
            issued = _renewed_before(book, known, asked, now) or self._issue(book, asked, known.name, now)
        _LOG.info("%s has renewed %s: certificate %s", known.name, known.serial, issued.serial)
        return wire.Issued(certificate=issued.pem)

    def _issue(self, book: Book, asked: SigningRequest, device: str, now: float) -> Entry:
        signed = self._folder.signer.certify_device(asked, device=device, lifetime=self._device_lifetime)
        entry = Entry(
            serial=signed.serial,
            use="device",
            name=device,
            key_digest=signed.key_digest,
            pem=signed.pem,
            issued_seconds=now,
            not_after_seconds=signed.not_after_seconds,
        )
        book.add(entry)
        return entry


def refusal_answer(refusal: wire.Refusal) -> Answer:
    """Return a refusal as it goes over the wire."""
    return Answer(status=_STATUS.get(refusal.code, _FORBIDDEN), content_type=_JSON, body=wire.encode(refusal))


def _answer(message: wire.AuthorityAnswer | wire.Issued) -> Answer:
    return Answer(status=200, content_type=_JSON, body=wire.encode(message))


def _require_not_barred(book: Book, device: str) -> None:
    if book.is_barred(device):
        _refuse(
            "approval_refused",
            f"an operator has decommissioned {device!r}: it gets no certificate any more",
            "Choose another device.id.",
        )


def _awaited(
    book: Book, claim: Claim, asked: SigningRequest, device: str, now: float
) -> ApprovalRequest | None:
    """Return the request that keeps a device waiting; None: it may come in."""
    if not claim.needs_approval:
        return None
    request = book.ask(claim, device=device, key_digest=asked.key_digest, now_seconds=now)
    if (request.device, request.key_digest) != (device, asked.key_digest):
        _refuse("token_spent", "the token has been used already, with another key", _ASK)
    return None if request.state == "approved" else request


def _refuse_until_approved(request: ApprovalRequest) -> NoReturn:
    if request.state == "refused":
        _refuse("approval_refused", f"an operator has refused to let {request.device!r} in", _ASK)
    _refuse(
        "approval_pending",
        f"{request.device!r} waits for an operator's approval",
        "Run the same command again, with the same token, once it is approved.",
    )


def _bought_before(book: Book, claim: Claim, asked: SigningRequest, device: str) -> wire.Issued:
    """Give the same certificate to the same key again; its first answer may have been lost. Anyone else comes too late."""
    bought = book.certificate(claim.spent_serial)
    if bought is None or (bought.key_digest, bought.name) != (asked.key_digest, device):
        _refuse("token_spent", "the token has been used already, with another key", _ASK)
    if bought.revoked_seconds is not None:
        _refuse("certificate_revoked", "what this token bought has been revoked", _ASK)
    return wire.Issued(certificate=bought.pem)


def _renewed_before(book: Book, known: Entry, asked: SigningRequest, now: float) -> Entry | None:
    return next(
        (
            entry
            for entry in _standing(book, known.name, now)
            if entry.key_digest == asked.key_digest and entry.serial != known.serial
        ),
        None,
    )


def _standing(book: Book, device: str, now: float) -> list[Entry]:
    return [
        entry
        for entry in book.certificates(device)
        if entry.revoked_seconds is None and entry.not_after_seconds > now
    ]


def _require_standing(known: Entry, held: x509.Certificate, now: float) -> None:
    if known.revoked_seconds is not None:
        why = f": {known.reason}" if known.reason else ""
        _refuse("certificate_revoked", f"the certificate of {known.name!r} was revoked{why}", _ASK)
    if known.not_after_seconds <= now:
        ended = held.not_valid_after_utc.astimezone(timezone.utc).isoformat(" ", "seconds")
        _refuse("certificate_expired", f"the certificate of {known.name!r} ended {ended}", _ASK)


def _require_signature(request: wire.RenewRequest, held: x509.Certificate) -> None:
    try:
        signature = base64.b64decode(request.signature, validate=True)
    except binascii.Error:
        signature = b""
    if not is_signed_by(held, signature, wire.renewal_statement(request.csr)):
        _refuse("signature_wrong", "the request is not signed by the key of the certificate")


def _require_name(asked: SigningRequest, device: str) -> None:
    if asked.names != (device,):
        _refuse("request_unusable", f"the signing request does not name {device!r}, and nothing else")


def _read_request(pem: str) -> SigningRequest:
    try:
        return read_request(pem)
    except ValueError as error:
        _refuse("request_unusable", str(error)[:500])


def _read_held(pem: str) -> x509.Certificate:
    try:
        return read_certificate(pem)
    except ValueError as error:
        _refuse("certificate_unknown", str(error)[:500])


def _refuse(code: wire.RefusalCode, message: str, hint: str = "") -> NoReturn:
    raise _RefusedError(wire.Refusal(code=code, message=message, hint=hint))
