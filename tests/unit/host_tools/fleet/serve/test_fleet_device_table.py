"""The device list as CSV: in, out, and every wrong line named."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.contract.digest import digest_of
from host_tools.fleet.serve.device_table import DeviceTableError, read_table
from host_tools.fleet.serve.limits import Limits
from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests

if TYPE_CHECKING:
    from pathlib import Path


def test_a_list_adds_moves_and_tags_and_comes_out_again(fleet: FleetOfTests) -> None:
    names = fleet.with_devices(2)
    fleet.done("POST", "/groups", {"name": "shop"})
    table = f"\ufeffid,group,tags,health\r\nnew-1,lab,a b,x\r\n{names[0]},shop,c,\r\n\r\n{names[1]},lab,,\r\n"
    sent = fleet.done("POST", "/devices.csv", content=table.encode(), role="operator")
    assert sent == {"added": 1, "changed": 1, "same": 1}
    (entry,) = fleet.done("GET", "/audit", params={"action": "device.import"})["items"]
    assert entry["details"] == {"added": 1, "changed": 1, "list": digest_of(table.encode())}
    assert fleet.done("GET", f"/devices/{names[0]}")["group"] == "shop"
    assert fleet.done("GET", "/devices/new-1")["tags"] == ["a", "b"]
    exported = fleet.ask("GET", "/devices.csv", role="viewer")
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(exported.text))}
    assert rows["new-1"]["tags"] == "a b"
    assert rows[names[0]]["state"] == "enrolled"
    again = fleet.done("POST", "/devices.csv", content=exported.content)
    assert again == {"added": 0, "changed": 0, "same": 3}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (b"", "line 1: expected a column 'id', once, got 0"),
        (b"id,tags\n", "line 1: expected a column 'group', once, got 0"),
        (b"id,group,id\n", "line 1: expected a column 'id', once, got 2"),
        (b"id,group\nd1\n", "line 2: expected 2 cells, got 1."),
        (
            b"id,group\nd 1,lab\nd2,\n",
            "line 2: id: expected 1 to 64 letters, digits, _ and -, got 'd 1'. line 3: group: expected",
        ),
        (b"id,group\nd1,lab\nd1,lab\n", "line 3: id: the device is in line 2 already."),
        (b"id,group,tags\nd1,lab,a;b\n", "line 2: tags: expected words"),
        (
            b"id,group,tags\nd1,lab," + b" ".join(b"t%d" % n for n in range(33)) + b"\n",
            "line 2: tags: expected at most 32, got 33.",
        ),
        (b'id,group\nd1,"lab\n', "line 2: not CSV"),
        (b"id,group,tag\nd1,lab,north\n", "line 1: expected columns of id, group, tags, state"),
        (b"id,group,tags,tags\nd1,lab,north,\n", "line 1: expected a column 'tags', once, got 2"),
        (b'id,group,tags\nd1,lab,"a\nb"\nd 2,lab,\n', "line 4: id: expected 1 to 64 letters"),
        (b"id,group\r\nd1,lab\r\n\r\nd 2,lab\r\n", "line 4: id: expected 1 to 64 letters"),
        (b"id,group\nd1,lab\nd2,\xff\n", "line 3: expected UTF-8, got byte 0xff."),
        (b"id,group\n" + b"".join(b"?%d,lab\n" % n for n in range(30)), "And 10 more."),
        (b"id,group\nd1,lab\nd2,nowhere\n", "line 3: group nowhere: there is none of that name."),
        (
            b"id,group\nd1,none\nd2,lab\nd3,nowhere\n",
            "line 2: group none: there is none of that name. line 4: group nowhere: there is none of that name.",
        ),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_taken(fleet: FleetOfTests, table: bytes, problem: str) -> None:
    fleet.done("POST", "/groups", {"name": "lab"})
    answer = fleet.ask("POST", "/devices.csv", content=table)
    assert (answer.status_code, answer.json()["code"]) == (422, "device_table")
    assert problem in answer.json()["detail"]
    assert fleet.done("GET", "/devices")["items"] == []


def test_empty_columns_of_a_spreadsheet_are_passed_over(fleet: FleetOfTests) -> None:
    fleet.done("POST", "/groups", {"name": "lab"})
    assert fleet.ask("POST", "/devices.csv", content=b"id,group,,\nd1,lab,,\n").json()["added"] == 1


def test_a_device_that_is_out_stops_the_list(fleet: FleetOfTests) -> None:
    name = fleet.with_devices(1)[0]
    fleet.done("POST", "/groups", {"name": "shop"})
    fleet.done("POST", f"/devices/{name}/decommission", {})
    answer = fleet.ask("POST", "/devices.csv", content=f"id,group\nnew,lab\n{name},shop\n".encode())
    assert answer.status_code == 409
    assert fleet.ask("GET", "/devices/new").status_code == 404


def test_what_is_taken_out_comes_in_again_with_devices_that_are_out(fleet: FleetOfTests) -> None:
    names = fleet.with_devices(3)
    fleet.done("PATCH", f"/devices/{names[0]}", {"tags": ["roof", "x"]})
    fleet.done("POST", f"/devices/{names[0]}/decommission", {})
    fleet.done("POST", f"/devices/{names[1]}/revoke", {})
    listed = fleet.ask("GET", "/devices.csv").content
    assert fleet.ask("POST", "/devices.csv", content=listed).json() == {"added": 0, "changed": 0, "same": 3}
    moved = fleet.ask("POST", "/devices.csv", content=listed.replace(b"roof", b"floor"))
    assert (moved.status_code, moved.json()["code"]) == (409, "conflict")


def test_there_are_never_more_devices_than_allowed(tmp_path: Path) -> None:
    fleet = FleetOfTests(str(tmp_path / "fleet.db"), limits=Limits(devices=2))
    fleet.done("POST", "/groups", {"name": "lab"})
    fleet.done("POST", "/devices", {"id": "d1", "group": "lab"})
    answer = fleet.ask("POST", "/devices.csv", content=b"id,group\nd2,lab\nd3,lab\n")
    assert (answer.status_code, answer.json()["code"]) == (409, "quota")
    assert fleet.done("POST", "/devices.csv", content=b"id,group\nd2,lab\n")["added"] == 1
    assert fleet.ask("POST", "/devices", {"id": "d3", "group": "lab"}).status_code == 409
    fleet.close()


def test_no_cell_is_a_formula(fleet: FleetOfTests) -> None:
    fleet.done("POST", "/groups", {"name": "lab"})
    body = {"id": "d1", "group": "lab", "provides": {"engine": "=1+1", "agent_version": "@x"}}
    fleet.done("POST", "/devices", body)
    row = next(csv.DictReader(io.StringIO(fleet.ask("GET", "/devices.csv").text)))
    assert (row["engine"], row["agent_version"]) == ("'=1+1", "'@x")


def test_a_list_that_was_taken_out_can_be_brought_in_again(fleet: FleetOfTests) -> None:
    fleet.done("POST", "/groups", {"name": "-lab"})
    body = {"id": "-d1", "group": "-lab", "tags": ["=x", "b"], "provides": {"engine": "-1+1"}}
    fleet.done("POST", "/devices", body)
    text = fleet.ask("GET", "/devices.csv").text
    assert "'-1+1" in text
    assert "'=x b" in text or "b =x" in text
    headers = {"content-type": "text/csv"}
    assert fleet.done("POST", "/devices.csv", content=text.encode(), headers=headers)["same"] == 1


@given(data=st.binary(max_size=200) | st.text(alphabet='id,group"\n\r\0ab ', max_size=80).map(str.encode))
def test_any_bytes_are_a_list_or_a_told_problem(data: bytes) -> None:
    try:
        rows = read_table(data)
    except DeviceTableError as error:
        assert str(error)
    else:
        assert len({row.device for row in rows}) == len(rows)
