"""The fast way and the contract agree: whatever the fast way takes, the contract takes, with the same values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from contract_values import MESSAGES
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import ContractError
from device_agent.contract.telemetry.codec import decode, encode
from device_agent.contract.telemetry.measurements import MEASUREMENTS
from device_agent.contract.telemetry.result import Raw, Result, Summary
from host_tools.review.ingest.fast_rows import fast_rows
from host_tools.review.ingest.rows import Rows, rows_of

KINDS = {**MEASUREMENTS, "result": Result}
VECTORS = Path(__file__).parents[1] / "contract" / "vectors"


def judged(kind: str, payload: bytes) -> Rows | None:
    try:
        return rows_of(decode(KINDS[kind], payload, where="test"), name=kind)
    except ContractError:
        return None


def agree(kind: str, payload: bytes) -> bool:
    """Hold the two against each other; return whether the fast way took it."""
    fast = fast_rows(kind, payload)
    if fast is None:
        return False
    slow = judged(kind, payload)
    assert slow is not None, payload
    assert fast == slow
    assert repr(fast) == repr(slow)  # types too: 1 is no 1.0
    return True


def messages(kind: str) -> st.SearchStrategy[Any]:
    return MESSAGES[kind]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_message_has_the_contracts_rows(kind: str, data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    payload = encode(message)
    taken = agree(kind, payload)
    numbers = [float(text) for text in re.findall(rb"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", payload)]
    plain = message.schema_version in ("1.0", "1.1", "1.2") and not message.extra and payload.isascii()
    if plain and b"\\" not in payload and b" :" not in payload and max(map(abs, numbers)) <= 1e18:
        others = any(isinstance(output, Summary | Raw) for output in getattr(message, "outputs", ()))
        assert taken or others, "what agents write is to go the fast way"


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_and_forged_messages_are_never_taken_that_the_contract_refuses(
    kind: str, data: st.DataObject
) -> None:
    """Numbers, keys and punctuation are exchanged for others that come near."""
    payload = encode(data.draw(messages(kind)))
    payload = re.sub(
        rb"[\x80-\xff]", b"x", re.sub(rb"\\u....|\\.", b"y", payload)
    )  # what the fast way looks at
    payload = re.sub(rb'"schema_version":"[0-9.]+"', b'"schema_version":"1.0"', payload)
    for _ in range(data.draw(st.integers(1, 3))):
        tokens = list(re.finditer(rb'"[^"\\]*"|-?[0-9][0-9.e+-]*|null|true|[{}\[\],:]', payload))
        token = data.draw(st.sampled_from(tokens))
        other = data.draw(
            st.sampled_from(FORGERIES) | st.sampled_from(tokens).map(lambda found: found[0]) | doubled(token)
        )
        payload = payload[: token.start()] + other + payload[token.end() :]
    agree(kind, payload)


FORGERIES = [
    *(b"1.0", b"-1", b"0", b"-0", b"-0.0", b"1e0", b"1E400", b"9007199254740992", b"9007199254740991"),
    *(b"18446744073709551616", b"1000000000000000000000", b"1e18", b"1e300", b"5e-324", b"NaN", b"true"),
    *(b"null", b'""', b'"-0"', b'"01"', b'"1000000000"', b'"999999999"', b"{}", b"[]", b" ", b"\n", b"\x0b"),
    *(b'"absent"', b'"time":1,"time"', b'"time" :1', b'"time" :', b'"\\u0074ime"', b'"extra":1,', b","),
    *(
        b'"synced"',
        b'"floor"',
        b'"sha256:0"',
        b'"unavailable"',
        b'"counter"',
        b'"x_celsius"',
        b'"\xff"',
        b":",
    ),
]


def doubled(token: re.Match[bytes]) -> st.SearchStrategy[bytes]:
    """A key that stands twice, with or without blanks that hide it from a count of colons."""
    return st.sampled_from(
        [token[0] + between + token[0] for between in (b":0,", b" :0,", b":0 ,", b",", b"")]
    )


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*/*.json")), ids=lambda path: path.stem)
def test_the_conformance_vectors(path: Path) -> None:
    vector = json.loads(path.read_text())
    if vector["kind"] in KINDS:
        text = vector.get("raw") or json.dumps(vector["document"], ensure_ascii=False, separators=(",", ":"))
        agree(vector["kind"], text.encode())


VALID = [
    path for path in sorted(VECTORS.glob("valid/*.json")) if json.loads(path.read_text())["kind"] in KINDS
]
PAIR = re.compile(rb'"[^"]*"(:)(?:"[^"]*"|-?[0-9.e+-]+|null)')
NUMBER = re.compile(rb"(?<=[:\[,])-?[0-9][0-9.e+-]*")
BLANKS = (b":", b" :", b": ", b"\t:", b"\n:", b"\r:", b" : ")
NUMBERS = (
    b"%b.0",
    b"%be0",
    b"%b.5",
    b"-%b",
    b"0%b",
    b"%b0000000000000000000",
    b"-0",
    b"1e400",
    b"true",
    b"null",
    b'"%b"',
)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_every_key_twice_and_every_number_another(path: Path) -> None:
    """One change a time, at every place of a good message; the fast way may take it only if the contract does."""
    vector = json.loads(path.read_text())
    kind = vector["kind"]
    payload = json.dumps(vector["document"], ensure_ascii=False, separators=(",", ":")).encode()
    taken = agree(kind, payload)
    assert taken or vector["document"]["schema_version"] == "1.3" or kind == "result"
    for pair in PAIR.finditer(payload):
        for blank in BLANKS:
            hidden = pair[0].replace(b":", blank, 1)
            for twice in (hidden + b"," + pair[0], pair[0] + b"," + hidden, hidden, hidden + b"," + hidden):
                agree(kind, payload[: pair.start()] + twice + payload[pair.end() :])
        escaped = b'"\\u%04x' % pair[0][1] + pair[0][2:]
        agree(kind, payload[: pair.start()] + pair[0] + b"," + escaped + payload[pair.end() :])
        # A key in two spellings, and one blank less to count: both tricks at once.
        other = payload.replace(b'"absent":', b'"absent" :', 1)
        agree(kind, other.replace(pair[0], pair[0] + b"," + pair[0], 1))
        for text in (
            b'"\\ud800"',
            b'"\\udc00\\ud800"',
            b'"a\\"b\\":c"',
            b'""',
            b'"\x7f"',
            b'"\x00"',
            b'"%s"' % (b"x" * 1025),
        ):
            agree(kind, payload[: pair.start(1) + 1] + text + payload[pair.end() :])
    for number in NUMBER.finditer(payload):
        for form in NUMBERS:
            changed = form % number[0] if b"%" in form else form
            agree(kind, payload[: number.start()] + changed + payload[number.end() :])
    for key in (b'"-0":', b'"00":', b'"1000000000":', b'"-1000000000":', b'"1.0":'):
        for counted in re.finditer(rb'"-?[0-9]+":', payload):
            agree(kind, payload[: counted.start()] + key + payload[counted.end() :])


def test_other_kinds_are_left_to_the_contract() -> None:
    assert fast_rows("event", b"{}") is None
