"""Whatever bytes come as a token, a message, a certificate or a request: an error of ours, or a value that can be written again."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agent.contract import claim_token
from device_agent.contract import enrolment as wire
from device_agent.contract.errors import ContractError, EdgewrightError, TrustError
from device_agent.enrolment import keys
from device_agent.enrolment.identity import _decoded
from host_tools.authority.certificates import new_signer, read_certificate, read_request
from host_tools.authority.folder import create_authority
from host_tools.authority.service import EnrolmentService

SIGNER = new_signer(name="fleet", lifetime=timedelta(days=2))
KEY = keys.make_key()
CSR = keys.signing_request(KEY, device="dev-1")
CERTIFICATE = SIGNER.certify_device(read_request(CSR), device="dev-1", lifetime=timedelta(days=1)).pem
TOKEN = claim_token.ClaimToken(
    url="https://ca.example:8443/x", authority="sha256:" + "0" * 64, secret="A" * 43, device="dev-1", expires_seconds=2e9
)  # fmt: skip
ISSUED = wire.encode(wire.Issued(certificate=CERTIFICATE))
RENEW = wire.encode(wire.RenewRequest(certificate=CERTIFICATE, csr=CSR, signature="AAAA"))
ENROL = wire.encode(wire.EnrolRequest(device="dev-1", secret="A" * 43, csr=CSR))
REFUSAL = wire.encode(wire.Refusal(code="token_spent", message="m", hint="h"))
READERS: dict[str, tuple[bytes, Any]] = {
    "authority": (wire.encode(wire.AuthorityAnswer(authority=SIGNER.pem)), wire.decode_authority),
    "issued": (ISSUED, wire.decode_issued),
    "renew": (RENEW, wire.decode_renew),
    "enrol": (ENROL, wire.decode_enrol),
    "refusal": (REFUSAL, wire.decode_refusal),
}
IDENTITY = {
    "schema_version": "1.0", "device": "dev-1", "url": "https://x", "authority": "sha256:" + "0" * 64, "claim": "sha256:" + "1" * 64,
    "serial": "1f", "not_before_seconds": 1.0, "not_after_seconds": 2.0,
}  # fmt: skip
HARD = st.sampled_from(
    [None, "", 0, -1, 1e308, True, [], {}, "x" * 9_000, "\0", "\ud800", "-----BEGIN \u202e", "💥", "1.0", "../x", "https://[", "sha256:"]
)  # fmt: skip
FEW = settings(max_examples=200, deadline=None)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes changed, cut out or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        end = draw(st.integers(place, min(place + 8, len(data))))
        data[place:end] = draw(st.binary(max_size=8))
    return bytes(data)


def damaged_pem(pem: str) -> st.SearchStrategy[str]:
    """Change the DER inside, so that the armour is not what fails."""
    import base64

    head, *body, foot, _ = pem.split("\n")
    der = base64.b64decode("".join(body))
    return damaged(der).map(lambda data: f"{head}\n{base64.b64encode(data).decode()}\n{foot}\n")


@FEW
@given(
    token=st.builds(
        claim_token.ClaimToken,
        url=st.sampled_from(["https://a", "https://a.example:1/b", "https://[::1]:8443", "https://10.0.0.1"]),
        authority=st.just(TOKEN.authority),
        secret=st.text("abcXYZ019-_", min_size=43, max_size=43),
        device=st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)),
        expires_seconds=st.floats(0, 2e11).filter(math.isfinite),
    )
)
def test_a_token_comes_back_as_it_was_and_does_not_show_its_secret(token: claim_token.ClaimToken) -> None:
    text = claim_token.encode_token(token)
    assert claim_token.decode_token(f"\n {text} \r\n") == token
    assert token.secret not in repr(token)


@FEW
@given(
    data=st.one_of(
        st.text(max_size=300),
        damaged(claim_token.encode_token(TOKEN).encode()).map(lambda raw: raw.decode("latin-1")),
    )
)
def test_no_token_is_believed_that_was_changed(data: str) -> None:
    try:
        read = claim_token.decode_token(data)
    except EdgewrightError as error:
        assert TOKEN.secret not in str(error)
    else:
        assert read == TOKEN, "the check of eight digits holds for every change of a few bytes"


@FEW
@given(key=st.sampled_from(["url", "authority", "secret", "device", "expires_seconds"]), value=HARD)
def test_a_whole_token_with_another_value_in_it(key: str, value: object) -> None:
    import base64

    fields = {
        "url": TOKEN.url,
        "authority": TOKEN.authority,
        "secret": TOKEN.secret,
        "device": "",
        "expires_seconds": 1.0,
    }
    body = json.dumps(fields | {key: value}).encode()
    text = f"ewt1.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.{claim_token._check(body)}"
    try:
        read = claim_token.decode_token(text)
    except EdgewrightError:
        return
    assert claim_token.decode_token(claim_token.encode_token(read)) == read


@pytest.mark.parametrize("kind", READERS)
@FEW
@given(data=st.data())
def test_messages_with_something_else_in_one_place(kind: str, data: st.DataObject) -> None:
    whole, read = READERS[kind]
    if data.draw(st.booleans()):
        raw = data.draw(damaged(whole))
    else:
        document = json.loads(whole)
        document[data.draw(st.sampled_from([*document, "more"]))] = data.draw(HARD)
        raw = json.dumps(document).encode()
    try:
        message = read(raw, where="m")
    except EdgewrightError:
        return
    assert read(wire.encode(message), where="m") == message
    if isinstance(message, wire.Refusal):
        assert message.message.isprintable()
        assert message.hint.isprintable()


@pytest.mark.parametrize("read", [read for _, read in READERS.values()])
def test_an_oversized_message_is_not_parsed(read: Any) -> None:
    with pytest.raises(ContractError, match="at most 32768 bytes"):
        read(b'{"schema_version": "1.0", "x": "' + b"y" * 40_000 + b'"}', where="m")


@FEW
@given(pem=st.one_of(damaged_pem(CERTIFICATE), damaged_pem(SIGNER.pem), st.text(max_size=200)))
def test_certificates_on_the_device(pem: str) -> None:
    """A changed certificate may be read, but it is never one that the authority has signed, unless nothing of it was changed."""
    try:
        keys.checked_certificate(pem, key=KEY, device="dev-1", authority=SIGNER.pem)
    except TrustError:
        pass
    else:
        assert read_certificate(pem) == read_certificate(CERTIFICATE)
    with pytest.raises(TrustError):
        keys.pinned_authority(pem, digest="sha256:" + "0" * 64)


@FEW
@given(pem=st.one_of(damaged_pem(CSR), damaged_pem(CERTIFICATE), st.text(max_size=200)))
def test_requests_and_certificates_at_the_authority(pem: str) -> None:
    for read in (read_request, read_certificate):
        try:
            read(pem)
        except ValueError as error:
            assert str(error)


@FEW
@given(key=st.one_of(st.binary(max_size=300), damaged(KEY)))
def test_keys(key: bytes) -> None:
    assert keys.is_key(KEY)
    if keys.is_key(key):
        keys.signing_request(key, device="d")


@FEW
@given(data=st.data())
def test_the_identitys_own_file(data: st.DataObject) -> None:
    document: dict[str, object] = dict(IDENTITY)
    document[data.draw(st.sampled_from([*IDENTITY]))] = data.draw(HARD)
    try:
        _decoded(json.dumps(document).encode(), "identity.json")
    except EdgewrightError as error:
        assert "identity.json" in str(error) or "device id" in str(error) or "address" in str(error)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> EnrolmentService:
    folder = create_authority(Path(tmp_path_factory.mktemp("ca")), name="f", lifetime=timedelta(days=2))
    return EnrolmentService(folder, device_lifetime=timedelta(days=1), list_lifetime=timedelta(days=1))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "", "\0"]),
    path=st.one_of(
        st.sampled_from([wire.AUTHORITY_PATH, wire.ENROL_PATH, wire.RENEW_PATH, wire.CRL_PATH]),
        st.text(max_size=50),
    ),
    body=st.one_of(st.binary(max_size=200), damaged(ENROL), damaged(RENEW), st.just(ENROL), st.just(RENEW)),
)
def test_the_authority_answers_whatever_comes(
    service: EnrolmentService, method: str, path: str, body: bytes
) -> None:
    answer = service.answer(method, path, body)
    if answer.status == 200:
        assert method == "GET"
        return
    refusal = wire.decode_refusal(answer.body, where="answer")
    assert refusal.code != "failed", "nothing that a client sends is a fault of the server"
    assert 400 <= answer.status < 500
