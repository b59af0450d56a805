"""hawkBit's Direct Device Integration API as its clients speak it, word for word, against the fleet's jobs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.desired import DesiredArtifact
from host_tools.errors import InputError
from host_tools.fleet.ddi.door import checked_tenant
from host_tools.fleet.ddi.files import Bundle
from host_tools.fleet.ddi.wire import deployment_document, sleep_text
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.fleet.store.ddi import DdiAction
from tests.unit.host_tools.fleet.ddi.ddi_of_tests import HOST, content
from tests.unit.host_tools.fleet.fleet_of_tests import PROFILE, digest

if TYPE_CHECKING:
    from tests.unit.host_tools.fleet.ddi.ddi_of_tests import DdiFleet, Polling


def begun(fleet: DdiFleet) -> tuple[Polling, str]:
    """Return a device that polls and has an action, and the address of that."""
    fleet.release("1.0", 1)
    (name,) = fleet.with_devices(1)
    device = fleet.polling(name)
    fleet.rolled_out("1.0", rollout="r1")
    return device, device.links()["deploymentBase"]


def test_a_device_without_anything_to_do_is_told_when_to_poll_again_and_to_say_what_it_is(
    polled: DdiFleet,
) -> None:
    polled.done("POST", "/groups", {"name": "lab"})
    polled.done("POST", "/devices", {"id": "gate-8", "group": "lab"})
    device = polled.polling("gate-8")
    assert device.links() == {"configData": f"{HOST}/DEFAULT/controller/v1/gate-8/configData"}
    sent = {
        "mode": "merge",
        "data": {
            "targets": f"{PROFILE}, other",
            "engine": "swupdate 2022.12",
            "memory_bytes": "1024",
            "VIN": "7",
        },
    }
    assert device.send("PUT", device.links()["configData"], json=sent).status_code == 200
    assert device.links() == {}
    told = polled.done("GET", "/devices/gate-8")
    assert told["provides"] == {
        "targets": [PROFILE, "other"],
        "engine": "swupdate 2022.12",
        "agent_version": "",
        "memory_bytes": 1024,
    }
    assert told["last_seen_seconds"] == polled.clock()


def test_an_update_from_the_poll_to_its_end(polled: DdiFleet) -> None:
    device, address = begun(polled)
    job = polled.job("r1", device.name)
    assert (job["state"], job["heard_seconds"]) == ("scheduled", polled.clock())
    deployment = device.told(address)
    data = content("1.0")
    number = address.rsplit("/", maxsplit=1)[-1]
    files = f"{HOST}{device.root}/softwaremodules/{number}/artifacts/net-1.0.ewa"
    assert deployment == {
        "id": number,
        "deployment": {
            "download": "forced",
            "update": "forced",
            "chunks": [
                {
                    "part": "bApp",
                    "version": "1.0",
                    "name": "net",
                    "artifacts": [
                        {
                            "filename": "net-1.0.ewa",
                            "hashes": {
                                "sha1": hashlib.sha1(data).hexdigest(),
                                "md5": hashlib.md5(data).hexdigest(),
                                "sha256": hashlib.sha256(data).hexdigest(),
                            },
                            "size": len(data),
                            "_links": {
                                "download-http": {"href": files},
                                "md5sum-http": {"href": f"{files}.MD5SUM"},
                            },
                        }
                    ],
                }
            ],
        },
    }
    device.says(address, "scheduled")
    assert polled.job("r1", device.name)["state"] == "scheduled"
    device.says(address, "proceeding", "none", "Installing Update Chunk Artifacts.")
    job = polled.job("r1", device.name)
    assert (job["state"], job["reason"]) == ("download", "Installing Update Chunk Artifacts.")
    part = device.send("GET", files, headers={"Range": f"bytes=100-{len(data)}"})
    assert (part.status_code, part.content) == (206, data[100:])
    assert device.send("GET", files, headers={"Range": f"bytes={len(data)}-"}).status_code == 416
    assert device.send("GET", files).content == data
    assert device.send("GET", f"{files}.MD5SUM").text.split() == [
        hashlib.md5(data).hexdigest(),
        "net-1.0.ewa",
    ]
    assert device.told(files.rpartition("/")[0]) == deployment["deployment"]["chunks"][0]["artifacts"]
    states = [polled.job("r1", device.name)["state"]]
    for execution in ("scheduled", "download", "downloaded", "resumed", "proceeding", "download"):
        device.says(address, execution)
        states.append(polled.job("r1", device.name)["state"])
    assert states == ["download"] * 3 + ["downloaded"] * 4
    device.says(address, "closed", "success", "Update Installed.")
    job = polled.job("r1", device.name)
    assert (job["state"], job["result"], job["reason"]) == ("closed", "success", "Update Installed.")
    assert polled.runs(device.name) == job["wanted"]
    assert "deploymentBase" not in device.links()
    polled.pass_time(1.0)
    polled.service.round()
    assert polled.state() == "finished"
    assert device.send("GET", files).status_code == 404, "what is over is downloaded no more"


def test_an_agent_on_the_same_device_that_runs_the_old_artifact_meanwhile_is_no_failure(
    polled: DdiFleet,
) -> None:
    device, address = begun(polled)
    file = device.told(address)["deployment"]["chunks"][0]["artifacts"][0]["_links"]["download-http"]["href"]
    assert device.send("GET", file).status_code == 200
    assert polled.job("r1", device.name)["state"] == "download"
    device.says(address, "proceeding")
    polled.pass_time(20.0)
    polled.service.hear([polled.heard(device.name, runs=digest("before"))])
    job = polled.job("r1", device.name)
    assert (job["state"], job["result"]) == ("downloaded", "none")
    polled.service.hear([polled.heard(device.name, runs=job["wanted"])])
    assert polled.job("r1", device.name)["result"] == "success"
    device.says(address, "closed", "success")
    assert set(device.links()) & {"deploymentBase", "cancelAction"} == set()


def test_a_feedback_that_is_said_again_is_taken_and_another_is_not(polled: DdiFleet) -> None:
    device, address = begun(polled)
    device.says(address, "closed", "failure", "no space", "left")
    job = polled.job("r1", device.name)
    assert (job["state"], job["result"], job["reason"]) == ("closed", "failure", "no space left")
    device.says(address, "closed", "failure")
    assert device.says(address, "closed", "success", status=410).json()["code"] == "ended"
    device.says(address, "proceeding", status=410)
    assert polled.job("r1", device.name) == job
    assert polled.runs(device.name) is None
    assert "deploymentBase" not in device.links(), "what failed is not offered again by itself"


def test_retry_offers_what_failed_once_more_under_another_number(polled: DdiFleet) -> None:
    device, address = begun(polled)
    device.says(address, "closed", "failure")
    polled.pass_time(5.0)
    polled.done("POST", "/rollouts/r1/retry", {})
    again = device.links()["deploymentBase"]
    assert again != address
    device.says(again, "closed", "none")  # hawkBit takes it as success too
    job = polled.job("r1", device.name)
    assert (job["state"], job["result"], job["attempts"]) == ("closed", "success", 2)


@pytest.mark.parametrize("execution", ["rejected", "canceled"])
def test_a_device_that_will_not_do_it_has_rejected_it(polled: DdiFleet, execution: str) -> None:
    device, address = begun(polled)
    device.says(address, execution, "none", "not while driving")
    job = polled.job("r1", device.name)
    assert (job["state"], job["result"], job["reason"]) == ("rejected", "failure", "not while driving")
    assert "deploymentBase" not in device.links()


def taken_back(fleet: DdiFleet) -> tuple[Polling, str]:
    """Return a device whose action is to be canceled, since its rollout is taken back; and the action's number."""
    fleet.release("1.0", 1)
    fleet.release("2.0", 2)
    first, other = (fleet.polling(name) for name in fleet.with_devices(2))
    fleet.rolled_out("1.0", rollout="r1")
    for device in (first, other):
        device.says(device.links()["deploymentBase"], "closed", "success")
    fleet.pass_time(1.0)
    fleet.service.round()
    assert fleet.state() == "finished"
    fleet.pass_time(1.0)
    fleet.rolled_out("2.0", rollout="r2")
    address = first.links()["deploymentBase"]
    first.says(address, "proceeding")
    other.says(other.links()["deploymentBase"], "closed", "success")
    fleet.done("POST", "/rollouts/r2/rollback", {})
    fleet.service.round()
    # The other has it, and is offered the way back.
    back = other.links()["deploymentBase"]
    assert other.told(back)["deployment"]["chunks"][0]["version"] == "1.0"
    other.says(back, "closed", "success")
    return first, address.rsplit("/", maxsplit=1)[-1]


def test_what_is_wanted_no_more_is_canceled_and_ends_the_rollback(either_polled: DdiFleet) -> None:
    device, number = taken_back(either_polled)
    links = device.links()
    assert set(links) & {"deploymentBase", "cancelAction"} == {"cancelAction"}
    cancel = links["cancelAction"]
    assert device.told(cancel) == {"id": number, "cancelAction": {"stopId": number}}
    deploy = cancel.replace("cancelAction", "deploymentBase")
    assert device.send("GET", deploy).status_code == 404
    device.says(cancel, "proceeding")
    assert "cancelAction" in device.links()
    device.says(cancel, "closed", "success")
    device.says(cancel, "closed", "success")  # our answer was lost
    assert set(device.links()) & {"deploymentBase", "cancelAction"} == set()
    assert device.send("GET", cancel).status_code == 404
    either_polled.pass_time(1.0)
    either_polled.service.round()
    assert either_polled.state("r2") == "rolled_back"
    assert "action.cancel" in either_polled.audited()


def test_a_device_that_will_not_cancel_goes_on_and_is_then_offered_the_way_back(polled: DdiFleet) -> None:
    device, _ = taken_back(polled)
    cancel = device.links()["cancelAction"]
    device.says(cancel, "rejected", "none", "too late")
    deploy = device.links()["deploymentBase"]
    assert deploy == cancel.replace("cancelAction", "deploymentBase")
    device.says(deploy, "closed", "success")
    back = device.links()["deploymentBase"]
    assert device.told(back)["deployment"]["chunks"][0]["version"] == "1.0"
    device.says(back, "closed", "success")
    polled.pass_time(1.0)
    polled.service.round()
    assert polled.state("r2") == "rolled_back"


def test_a_device_that_comes_back_when_all_is_over_gets_what_its_group_runs(polled: DdiFleet) -> None:
    digest = polled.release("1.0", 1)
    name, away = polled.with_devices(2)
    device = polled.polling(name)
    polled.rolled_out("1.0", rollout="r1", absent_seconds=60.0)
    device.says(device.links()["deploymentBase"], "closed", "success")
    polled.pass_time(100.0)
    polled.service.round()
    polled.pass_time(1.0)
    polled.service.round()
    assert polled.state() == "finished"
    late = polled.polling(away)
    address = late.links()["deploymentBase"]
    chunk = late.told(address)["deployment"]["chunks"][0]
    assert (chunk["name"], chunk["version"]) == ("net", "1.0")
    late.says(address, "closed", "success")
    assert polled.runs(away) == digest


def test_a_pinned_device_is_offered_what_its_own_state_asks_for_where_a_release_has_it(
    either_polled: DdiFleet,
) -> None:
    fleet = either_polled
    first = fleet.release("0.9", 1)
    fleet.release("1.0", 2)
    (name,) = fleet.with_devices(1)
    device = fleet.polling(name)
    fleet.rolled_out("1.0", rollout="r1")
    address = device.links()["deploymentBase"]
    fleet.field.sign(name, {PROFILE: DesiredArtifact(path="models/net/net-0.9.ewa", digest=first)})
    fleet.service.round()
    assert fleet.job("r1", name)["state"] == "canceled"
    cancel = device.links()["cancelAction"]
    device.says(cancel, "closed", "success")
    offered = device.links()["deploymentBase"]
    assert offered != address
    chunk = device.told(offered)["deployment"]["chunks"][0]
    assert (chunk["name"], chunk["version"]) == ("net", "0.9")
    device.says(offered, "closed", "success")
    assert fleet.runs(name) == first
    fleet.field.sign(name, {PROFILE: DesiredArtifact(path="models/net/other.ewa", digest=digest("other"))})
    fleet.service.round()
    assert "deploymentBase" not in device.links(), "no release of this server has it"


def test_what_a_device_shall_run_is_found_among_more_than_a_thousand_releases(polled: DdiFleet) -> None:
    with polled.store.writing() as book:
        for number in range(1_001):
            other = ReleasedArtifact(
                path=f"models/net/net-0.{number}.ewa", digest=digest(f"no {number}"), size_bytes=1
            )
            book.releases.add(
                Release(
                    id=f"net-0.{number}",
                    model="net",
                    version=f"0.{number}",
                    counter=number + 1,
                    artifacts={PROFILE: other},
                    created_by="x",
                    created_seconds=0.0,
                )
            )
    last = polled.release("9.9", 2_000)
    (name,) = polled.with_devices(1)
    device = polled.polling(name)
    polled.field.sign(name, {PROFILE: DesiredArtifact(path="models/net/net-9.9.ewa", digest=last)})
    polled.service.round()
    with polled.store.reading() as book:
        entry = book.audit.last()
    assert entry is not None
    assert (entry.action, dict(entry.details)) == ("device.pinned", {"serial": 1, "release": "net-9.9"})
    chunk = device.told(device.links()["deploymentBase"])["deployment"]["chunks"][0]
    assert (chunk["name"], chunk["version"]) == ("net", "9.9")


def test_a_bundle_beside_the_artifact_is_what_is_downloaded(polled: DdiFleet) -> None:
    device, address = begun(polled)
    bundles = polled.repository / "bundles"
    bundles.mkdir()
    (bundles / "net-1.0.swu").write_bytes(b"signed by the operator")
    (artifact,) = device.told(address)["deployment"]["chunks"][0]["artifacts"]
    assert artifact["filename"] == "net-1.0.swu"
    assert artifact["hashes"]["sha256"] == hashlib.sha256(b"signed by the operator").hexdigest()
    assert (
        device.send("GET", artifact["_links"]["download-http"]["href"]).content == b"signed by the operator"
    )


def test_a_file_that_is_gone_or_is_not_the_release_s_is_not_handed_out(polled: DdiFleet) -> None:
    device, address = begun(polled)
    (file,) = (polled.repository / "targets" / "models" / "net").iterdir()
    link = device.told(address)["deployment"]["chunks"][0]["artifacts"][0]["_links"]["download-http"]["href"]
    file.write_bytes(content("1.0")[:-1])
    for asked in (address, link):
        answer = device.send("GET", asked)
        assert (answer.status_code, "is not what the release says" in answer.json()["detail"]) == (503, True)
    file.unlink()
    answer = device.send("GET", address)
    assert (answer.status_code, "is not in the repository" in answer.json()["detail"]) == (503, True)


def test_a_release_that_names_a_place_outside_the_repository_opens_nothing(
    polled: DdiFleet, tmp_path: Path
) -> None:
    (tmp_path / "secret.ewa").write_bytes(b"secret")
    polled.release("1.0", 1)
    (name,) = polled.with_devices(1)
    device = polled.polling(name)
    polled.rolled_out("1.0", rollout="r1")
    device.links()
    with polled.store.writing() as book:
        artifact = next(iter(book.releases.get("net-1.0").artifacts.values()))
        named = type(artifact)(
            path="../../secret.ewa", digest=artifact.digest, size_bytes=artifact.size_bytes
        )
        hostile = book.ddi_actions.add(name, named, name="net", version="1.0", now_seconds=book.now_seconds)
    answer = device.send("GET", f"{device.root}/deploymentBase/{hostile.number}")
    assert (answer.status_code, "names no file" in answer.json()["detail"]) == (503, True)


def test_attributes_are_merged_replaced_and_removed(either_polled: DdiFleet) -> None:
    (name,) = either_polled.with_devices(1)
    device = either_polled.polling(name)

    def after(mode: str | None, **data: object) -> tuple[object, ...]:
        body = {"data": data} if mode is None else {"mode": mode, "data": data}
        assert device.send("PUT", f"{device.root}/configData", json=body).status_code == 200
        provides = either_polled.done("GET", f"/devices/{name}")["provides"]
        return tuple(provides.values())

    assert after(None, engine="a") == ([PROFILE], "a", "", None)
    assert after("merge", agent_version=2, memory_bytes=5) == ([PROFILE], "a", "2", 5)
    assert after("remove", agent_version="") == ([PROFILE], "a", "", 5)
    assert after("replace", targets="x y x") == (["x", "y"], "", "", 5)
    assert after("replace", engine="b", color=None) == ([], "b", "", 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("targets", "../x"),
        ("targets", " ".join(f"t{number}" for number in range(17))),
        ("memory_bytes", "-1"),
        ("memory_bytes", "1e3"),
        ("memory_bytes", str(1 << 63)),
    ],
)
def test_an_attribute_that_the_fleet_cannot_keep_is_refused_with_what_was_expected(
    polled: DdiFleet, name: str, value: str
) -> None:
    (device,) = polled.with_devices(1)
    answer = polled.polling(device).send(
        "PUT", f"/DEFAULT/controller/v1/{device}/configData", json={"data": {name: value}}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"attribute {name}: expected ")
    assert polled.done("GET", f"/devices/{device}")["provides"]["targets"] == [PROFILE]


def test_attributes_are_asked_for_again_after_an_update(polled: DdiFleet) -> None:
    device, address = begun(polled)
    device.send("PUT", device.links()["configData"], json={"data": {"engine": "a"}})
    assert "configData" not in device.links()
    device.says(address, "proceeding")
    assert "configData" not in device.links()
    device.says(address, "closed", "success")
    assert "configData" in device.links()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "00:00:01"), (90.4, "00:01:30"), (3_661.0, "01:01:01"), (86_400.0, "23:59:59"), (1e9, "23:59:59")],
)
def test_a_time_to_sleep_is_one_of_a_day(seconds: float, text: str) -> None:
    assert sleep_text(seconds) == text


@pytest.mark.parametrize("tenant", ["", "a/b", "..", "x" * 65, "é"])
def test_a_tenant_is_a_part_of_an_address(tenant: str) -> None:
    assert checked_tenant("DEFAULT") == "DEFAULT"
    with pytest.raises(InputError, match="--ddi-tenant: expected 1 to 64 letters"):
        checked_tenant(tenant)


@pytest.mark.parametrize(("scheme", "suffix"), [("https", ""), ("http", "-http")])
def test_a_link_has_the_name_by_which_clients_know_whether_it_has_tls(scheme: str, suffix: str) -> None:
    action = DdiAction(
        number=7,
        device="d",
        digest=digest("x"),
        path="models/net/x.ewa",
        size_bytes=3,
        name="net",
        version="1.0",
        made_seconds=0.0,
    )
    bundle = Bundle(path=Path("x"), name="x.swu", size_bytes=3, sha1="1", md5="2", sha256="3")
    root = f"{scheme}://fleet.example/T/controller/v1/d"
    (artifact,) = deployment_document(root, action, bundle)["deployment"]["chunks"][0]["artifacts"]
    file = f"{root}/softwaremodules/7/artifacts/x.swu"
    assert artifact["_links"] == {
        f"download{suffix}": {"href": file},
        f"md5sum{suffix}": {"href": f"{file}.MD5SUM"},
    }
