"""Whose token opens which addresses, how much may be sent, and what a hostile device can do: nothing to others."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.fleet.ddi.door import DdiRoute, DdiSettings
from host_tools.fleet.ddi.endpoints import device_router
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.limits import Limits, Rate
from host_tools.fleet.serve.roles import ROLES
from tests.unit.host_tools.fleet.ddi.ddi_of_tests import DdiFleet, Polling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WIDE = Rate(per_second=1e6, burst=1e6)
FEEDBACK = {"id": "1", "status": {"execution": "proceeding", "result": {"finished": "none"}}}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[DdiFleet]:
    opened = DdiFleet(
        str(tmp_path / "fleet.db"), tmp_path / "repository", limits=Limits(requests=WIDE, refusals=WIDE)
    )
    yield opened
    opened.close()


def with_action(fleet: DdiFleet) -> tuple[Polling, Polling, str]:
    """Return a device that has an action, another, and the number of the first's."""
    fleet.release("1.0", 1)
    first, other = (fleet.polling(name) for name in fleet.with_devices(2))
    fleet.rolled_out("1.0", rollout="r1")
    return first, other, first.links()["deploymentBase"].rsplit("/", maxsplit=1)[-1]


def addresses(fleet: DdiFleet, device: str, number: str) -> list[tuple[str, str]]:
    context = Fleet(store=fleet.store, service=fleet.service, limits=Limits())
    router = device_router(context, DdiSettings(repository=fleet.repository))
    values = {"tenant": "DEFAULT", "controller": device, "action": number, "file": "net-1.0.ewa"}
    return [
        (method, re.sub(r"\{(\w+)\}", lambda found: values[found[1]], route.path))
        for route in router.routes
        if isinstance(route, DdiRoute)
        for method in sorted(route.methods)
    ]


def body_for(method: str, address: str) -> dict[str, object] | None:
    return {"data": {"engine": "x"}} if method == "PUT" else FEEDBACK if method == "POST" else None


def test_a_device_opens_its_own_addresses_only_and_a_user_none(guarded: DdiFleet) -> None:
    first, other, number = with_action(guarded)
    asked = addresses(guarded, first.name, number)
    assert len(asked) == 8
    gateway = guarded.done("POST", "/groups/lab/gateway-token")["secret"]
    guarded.done("POST", "/groups", {"name": "shop"})
    elsewhere = guarded.done("POST", "/groups/shop/gateway-token")["secret"]
    bare = first.token.partition(" ")[2]
    closed = ["", "TargetToken", "TargetToken \xe9", other.token, f"GatewayToken {bare}", f"Bearer {bare}"]
    closed += [f"TargetToken {gateway}", f"GatewayToken {elsewhere}", "Basic dTpw", bare]
    for role in ROLES:
        closed += [f"{scheme} {guarded.secret(role)}" for scheme in ("Bearer", "TargetToken", "GatewayToken")]
    for method, address in asked:
        for shown in closed:
            headers = {"Authorization": shown.encode("latin-1")}
            answer = guarded.send(method, address, headers=headers, json=body_for(method, address))
            assert (answer.status_code, answer.json()["code"]) == (401, "token_needed"), (address, shown)
        for shown in (first.token, f"GatewayToken {gateway}", f"targettoken  {bare}"):
            answer = guarded.send(
                method, address, headers={"Authorization": shown}, json=body_for(method, address)
            )
            assert answer.status_code in ((404,) if "cancelAction" in address else (200,)), (
                address,
                answer.text,
            )


def test_another_s_action_is_no_action(guarded: DdiFleet) -> None:
    first, other, number = with_action(guarded)
    for method, address in addresses(guarded, other.name, number):
        if number in address.split("/"):
            answer = other.send(method, address, json=body_for(method, address))
            assert answer.status_code == 404, address
    assert guarded.job("r1", first.name)["state"] == "scheduled"


def test_a_device_s_token_opens_nothing_of_the_users(guarded: DdiFleet) -> None:
    (name,) = guarded.with_devices(1)
    secret = guarded.polling(name).token.partition(" ")[2]
    for scheme in ("Bearer", "TargetToken"):
        answer = guarded.send("GET", "/api/v1/devices", headers={"Authorization": f"{scheme} {secret}"})
        assert answer.status_code == 401
    described = guarded.send("GET", "/api/v1/openapi.json").json()["paths"]
    assert "/api/v1/devices/{device}/target-token" in described
    assert not [path for path in described if not path.startswith("/api/v1/")]


def test_another_tenant_another_case_and_nobody_s_name_are_not_opened(guarded: DdiFleet) -> None:
    (name,) = guarded.with_devices(1)
    device = guarded.polling(name)
    gateway = {"Authorization": "GatewayToken " + guarded.done("POST", "/groups/lab/gateway-token")["secret"]}
    assert device.send("GET", f"/OTHER/controller/v1/{name}").status_code == 401
    assert device.send("GET", f"/default/controller/v1/{name}").status_code == 401
    for nobody in ("nobody", "a%00b", "%2e%2e", "x" * 500, "%ff"):
        assert guarded.send("GET", f"/DEFAULT/controller/v1/{nobody}", headers=gateway).status_code == 401


def test_a_token_ends_when_another_is_made_when_it_is_taken_back_and_with_its_device(
    guarded: DdiFleet,
) -> None:
    first, other = (guarded.polling(name) for name in guarded.with_devices(2))
    assert "configData" in first.links()
    newer = guarded.polling(first.name)
    assert first.send("GET", first.root).status_code == 401
    assert "configData" in newer.links()
    guarded.done("DELETE", f"/devices/{first.name}/target-token")
    assert newer.send("GET", first.root).status_code == 401
    assert guarded.ask("DELETE", f"/devices/{first.name}/target-token").status_code == 404
    gateway = {"Authorization": "GatewayToken " + guarded.done("POST", "/groups/lab/gateway-token")["secret"]}
    assert guarded.send("GET", other.root, headers=gateway).status_code == 200
    guarded.done("POST", f"/devices/{other.name}/revoke", {"reason": "lost"})
    assert other.send("GET", other.root).status_code == 401
    refused = guarded.send("GET", other.root, headers=gateway)
    assert (refused.status_code, refused.json()["code"]) == (403, "no_part")
    assert guarded.ask("POST", f"/devices/{other.name}/target-token").status_code == 409
    guarded.done("DELETE", "/groups/lab/gateway-token")
    assert guarded.send("GET", first.root, headers=gateway).status_code == 401
    assert guarded.ask("POST", "/devices/nobody/target-token").status_code == 404
    assert guarded.ask("POST", "/groups/nobody/gateway-token").status_code == 404
    assert [one for one in guarded.audited() if "_token" in one] == [
        "target_token.make",
        "target_token.make",
        "target_token.make",
        "target_token.revoke",
        "gateway_token.make",
        "gateway_token.revoke",
    ]


def test_no_secret_is_kept(guarded: DdiFleet, tmp_path: Path) -> None:
    (name,) = guarded.with_devices(1)
    secret = guarded.polling(name).token.partition(" ")[2]
    guarded.store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("fleet.db*"))
    assert name.encode() in kept
    assert secret.encode() not in kept


def test_what_is_too_large_is_refused_before_and_after_its_length_is_known(guarded: DdiFleet) -> None:
    device, _, number = with_action(guarded)
    address = f"{device.root}/deploymentBase/{number}/feedback"
    for large in (b" " * (1 << 20) + b"{}", iter_of(b" " * (1 << 16), 20)):
        answer = device.send("POST", address, content=large, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    many = {"data": {f"k{number}": "v" for number in range(101)}}
    for said in (many, {"data": {"k" * 129: "v"}}, {"data": {"engine": "v" * 129}}):
        assert device.send("PUT", f"{device.root}/configData", json=said).status_code == 422
    long = json.loads(json.dumps(FEEDBACK))
    long["status"]["details"] = ["é\0" * 5_000, "the end"] * 9
    assert device.send("POST", address, json=long).status_code == 200
    reason = guarded.job("r1", device.name)["reason"]
    assert (len(reason), reason.endswith(" the end"), "\0" in reason) == (1024, True, False)


async def iter_of(piece: bytes, count: int):
    for _ in range(count):
        yield piece


def test_a_body_is_not_read_before_the_token_is(guarded: DdiFleet) -> None:
    (name,) = guarded.with_devices(1)
    address = f"/DEFAULT/controller/v1/{name}/configData"
    for body in (b"{", b"[" * 100_000):
        assert guarded.send("PUT", address, content=body).status_code == 401


def test_a_device_and_an_address_that_ask_too_often_wait(tmp_path: Path) -> None:
    few = Rate(per_second=0.001, burst=3.0)
    fleet = DdiFleet(
        str(tmp_path / "fleet.db"), tmp_path / "repository", limits=Limits(requests=WIDE, refusals=few)
    )
    (name,) = fleet.with_devices(1)
    device = fleet.polling(name)
    statuses = [fleet.send("GET", device.root).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert device.send("GET", device.root).status_code == 200, "a good token passes"
    fleet.close()
    fleet = DdiFleet(
        str(tmp_path / "other.db"), tmp_path / "repository", limits=Limits(requests=few, refusals=WIDE)
    )
    with fleet.store.writing() as book:
        assert book.devices.find(name) is None
    (name,) = fleet.with_devices(1)
    device = fleet.polling(name)
    answers = [device.send("GET", device.root) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    fleet.close()


def test_without_ddi_there_are_no_such_addresses(fleet: object) -> None:
    from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests

    assert isinstance(fleet, FleetOfTests)
    (name,) = fleet.with_devices(1)
    secret = fleet.done("POST", f"/devices/{name}/target-token")["secret"]
    headers = {"Authorization": f"TargetToken {secret}"}
    assert fleet.send("GET", f"/DEFAULT/controller/v1/{name}", headers=headers).status_code == 404


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
EXECUTIONS = st.sampled_from(
    ["closed", "proceeding", "canceled", "scheduled", "rejected", "resumed", "download", "downloaded", "x"]
)
FEEDBACKS = st.fixed_dictionaries(
    {
        "status": JSON
        | st.fixed_dictionaries(
            {
                "execution": EXECUTIONS | JSON,
                "result": st.fixed_dictionaries(
                    {"finished": st.sampled_from(["success", "failure", "none"]) | JSON}
                ),
            },
            optional={"details": JSON | st.lists(st.text(), max_size=3), "code": JSON},
        )
    },
    optional={"id": JSON, "time": JSON, "timestamp": JSON},
)
CONFIGS = st.fixed_dictionaries(
    {
        "data": JSON
        | st.dictionaries(
            st.sampled_from(["targets", "engine", "agent_version", "memory_bytes"]) | st.text(max_size=8),
            st.text(max_size=20) | st.integers().map(str) | JSON,
            max_size=4,
        )
    },
    optional={"mode": st.sampled_from(["merge", "replace", "remove"]) | JSON},
)


@given(said=FEEDBACKS | CONFIGS | JSON, raw=st.binary(max_size=40), place=st.integers(0, 3))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_device_sends_the_server_answers_and_the_others_do_not_notice(
    guarded: DdiFleet, said: object, raw: bytes, place: int
) -> None:
    if not guarded.ask("GET", "/groups/lab").is_success:
        with_action(guarded)
    device, other = (guarded.polling(f"lab-{number:05d}") for number in range(2))
    places = ("configData", "deploymentBase/1/feedback", "cancelAction/1/feedback", "configData")
    address = f"{device.root}/{places[place]}"
    sent = raw if place == 3 else json.dumps(said, ensure_ascii=True).encode()
    headers = {"Content-Type": "application/json"}
    answer = device.send("PUT" if place % 3 == 0 else "POST", address, content=sent, headers=headers)
    assert answer.status_code in (200, 400, 404, 410, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["status"] == answer.status_code
    assert "deploymentBase" in other.links()
    told = guarded.done("GET", f"/devices/{device.name}")
    assert len(told["provides"]["targets"]) <= 16
    assert guarded.job("r1", device.name)["state"] in (
        "scheduled",
        "download",
        "downloaded",
        "proceeding",
        "closed",
        "rejected",
    )
