"""The fleet's page in a real browser over the real server: figures, orders, live data, lost connections, roles, hostile texts, keys, no network."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from host_tools.free_port import free_port
from tests.integration import fleet_of_page
from tests.integration.browser_session import Browser, browser
from tests.integration.fleet_of_page import (
    ARM,
    DRAFT,
    DRIFTING,
    HOSTILE,
    INTEL,
    RUNNING,
    STOPPED,
    WAITING,
    PagesFleet,
)
from tests.unit.host_tools.fleet.fleet_of_tests import artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.fleet.records.access import Role

KEY = "edgewright.fleet.token"
AXE = Path(__file__).parent / "vendored" / "axe-core-4.14.1.min.js"
SHOWN = HOSTILE.replace("\u202e", "⟨U+202E⟩")
VIEWS = {
    "fleet": "",
    "group": "?view=group&id=lab",
    "devices": "?view=devices",
    "device": "?view=device&id=factory-00003",
    "rollouts": "?view=rollouts",
    "running": f"?view=rollout&id={RUNNING}",
    "stopped": f"?view=rollout&id={STOPPED}",
    "releases": "?view=releases",
    "release": "?view=release&id=eye-1.2",
    "audit": "?view=audit",
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesFleet]:
    """Everybody's: nobody changes it."""
    filled = fleet_of_page.filled(tmp_path_factory.mktemp("fleet"))
    yield filled
    filled.close()


@pytest.fixture(scope="module")
def address(fleet: PagesFleet) -> Iterator[str]:
    with fleet_of_page.serving(fleet, listening()) as address:
        yield address


@pytest.fixture
def own(fleet: PagesFleet, tmp_path: Path) -> Iterator[PagesFleet]:
    copy = fleet_of_page.copied(fleet, tmp_path)
    yield copy
    copy.close()


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def chromium(shared_browser: Browser) -> Iterator[Browser]:
    """Give the browser; whatever the test does, the page must raise nothing and ask nobody else."""
    shared_browser.open("about:blank")
    shared_browser.asked.clear()
    shared_browser.problems.clear()
    shared_browser.shape()
    yield shared_browser
    shared_browser.open("about:blank")
    assert shared_browser.problems == []
    assert [url for url in shared_browser.asked if urlsplit(url).hostname not in ("127.0.0.1", None)] == []


def listening(port: int = 0) -> socket.socket:
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(("127.0.0.1", port))
    opened.listen(64)
    return opened


def opened(
    chromium: Browser, fleet: PagesFleet, address: str, query: str = "", *, role: Role = "admin"
) -> None:
    """Open a view as somebody, and wait until it has its answers and hears what changes."""
    entered_as(chromium, fleet, address, query, role=role)
    settled(chromium)
    chromium.wait("document.querySelector('.live').textContent === 'Live'")


def entered_as(chromium: Browser, fleet: PagesFleet, address: str, query: str, *, role: Role) -> None:
    secret = fleet.secret(role)
    for _ in range(2):  # the first time the tab does not have the token yet
        chromium.open("about:blank")
        chromium.open(address + query)
        chromium.wait("document.querySelector('h1, main') !== null")
        if chromium.ask(f"sessionStorage.getItem({KEY!r})") == secret:
            return
        chromium.ask(f"sessionStorage.setItem({KEY!r}, {secret!r})")


def settled(chromium: Browser) -> None:
    chromium.wait(
        "document.querySelector('main .card') !== null && document.querySelector('[aria-busy=true]') === null"
    )


def text(chromium: Browser, selector: str) -> str:
    return str(chromium.ask(f"document.querySelector({json.dumps(selector)}).innerText"))


def rows(chromium: Browser, caption: str) -> list[list[str]]:
    """Return the cells of the table whose caption begins so."""
    found: list[list[str]] = chromium.ask(
        f"""[...[...document.querySelectorAll("table")].find((one) => one.caption.textContent.startsWith({json.dumps(caption)})).tBodies[0].rows]
              .map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"""
    )
    return found


def query_of(chromium: Browser) -> dict[str, list[str]]:
    return parse_qs(urlsplit(chromium.ask("location.href")).query)


def act(chromium: Browser, action: str) -> str:
    """Press a button and return what the dialog says will happen."""
    chromium.ask(f"document.querySelector('[data-action={action}]').click()")
    chromium.wait("document.querySelector('dialog[open]') !== null")
    return text(chromium, "#dialog-text")


def confirm(chromium: Browser) -> None:
    chromium.ask("document.querySelector('dialog [type=submit]').click()")


def gone(chromium: Browser) -> None:
    chromium.wait("document.querySelector('dialog') === null")


# --- what is shown ---


def test_the_fleet_at_a_glance(chromium: Browser, fleet: PagesFleet, address: str) -> None:
    opened(chromium, fleet, address, role="viewer")
    tiles = chromium.ask(
        "[...document.querySelectorAll('.tile')].map((one) => one.innerText.replace(/\\s+/g, ' '))"
    )
    assert tiles == [
        "200 devices",
        "194 enrolled",
        "3 wait for approval",
        "3 run something else than they shall",
        "3 open rollouts",
        "0 changes on their way to devices",
    ]
    assert [row[:2] for row in rows(chromium, "Devices by state")] == [
        ["✓ enrolled", "194"],
        ["! pending", "3"],
        ["✕ revoked", "2"],
        ["• decommissioned", "1"],
    ]
    assert [row[:2] for row in rows(chromium, "Devices by health")] == [
        ["✓ up", "194"],
        ["• unknown", "3"],
        ["! degraded", "2"],
        ["✕ down", "1"],
    ]
    runs = {row[0]: int(row[1]) for row in rows(chromium, "Devices by artifact")}
    assert runs[f"eye-1.2 for {ARM}"] + runs[f"eye-1.2 for {INTEL}"] == 39
    assert sum(runs.values()) == 200
    groups = {row[0]: row[1:] for row in rows(chromium, "Groups")}
    assert groups["factory"][:3] == ["120", "eye-1.0", "107 as desired, 10 on the way, 2 differing"]
    assert groups["stores"][2] == "57 as desired, 1 differing"
    assert [row[0] for row in rows(chromium, "Rollouts that have not ended")] == [RUNNING, WAITING, DRAFT]


def test_one_of_something_and_times_that_have_passed_are_told_as_people_do(
    chromium: Browser, own: PagesFleet
) -> None:
    own.done("POST", f"/rollouts/{DRAFT}/abort", {})
    own.done("POST", f"/rollouts/{WAITING}/abort", {})
    own.done("POST", "/tokens", {"name": "ada", "role": "viewer", "lifetime_days": 1.0})
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, role="viewer")
        tiles = chromium.ask("[...document.querySelectorAll('.tile')].map((one) => one.innerText)")
        passed = chromium.ask(
            """import("/static/words.js").then(({ ago }) => [3, 119, 340, 7_300, 200_000].map((one) => ago(Date.now() / 1e3 - one)))"""
        )
        opened(chromium, own, address, "?view=audit&action=token.add")
        ((*_, details),) = rows(chromium, "The audit")
        chromium.open("about:blank")
    assert re.search(r"expires: 20\d\d-\d\d-\d\d \d\d:\d\d UTC", details)
    assert "1 open rollout" in [one.replace("\n", " ") for one in tiles]
    assert passed == ["just now", "119 s ago", "5 min ago", "2 h ago", "2 d ago"]


def test_from_the_fleet_to_a_device_and_back(chromium: Browser, fleet: PagesFleet, address: str) -> None:
    opened(chromium, fleet, address)
    chromium.ask(
        "[...document.querySelectorAll('table a')].find((one) => one.getAttribute('aria-label') === '2 devices: degraded').click()"
    )
    chromium.wait("document.title.startsWith('Devices')")
    settled(chromium)
    assert query_of(chromium) == {"view": ["devices"], "health": ["degraded"]}
    assert [row[0] for row in rows(chromium, "Devices")] == ["factory-00003", "factory-00010"]
    chromium.ask("document.querySelector('tbody a').click()")
    chromium.wait("document.querySelector('h1').textContent === 'factory-00003'")
    chromium.ask("history.back()")
    chromium.wait("document.title.startsWith('Devices')")
    settled(chromium)
    assert [row[0] for row in rows(chromium, "Devices")] == ["factory-00003", "factory-00010"]
    assert chromium.ask("document.querySelector('select[name=health]').value") == "degraded"


def test_a_device_says_what_it_runs_and_what_it_shall(
    chromium: Browser, fleet: PagesFleet, address: str
) -> None:
    opened(chromium, fleet, address, f"?view=device&id={DRIFTING}")
    assert text(chromium, ".verdict") == "It runs something else than it shall."
    facts = chromium.ask(
        "[...document.querySelectorAll('[aria-labelledby=runs] dd')].map((one) => one.innerText)"
    )
    assert facts[:2] == [f"eye-1.0 for {ARM}", f"eye-1.1 for {ARM}"]
    assert rows(chromium, "What it owed")[0][0] == "stores-eye-1-0"


def test_a_pinned_device_says_so_and_its_groups_rollout_how_many_are(
    chromium: Browser, own: PagesFleet
) -> None:
    own.done("POST", f"/devices/{DRIFTING}/pin", {"release": "eye-1.1"})
    own.done("POST", "/devices/factory-00003/pin", {"release": "eye-1.1", "allow_downgrade": True})
    own.service.round()
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, f"?view=device&id={DRIFTING}")
        assert (
            text(chromium, ".verdict") == "It runs what it alone shall; rollouts to its group leave it out."
        )
        facts = chromium.ask("document.querySelector('[aria-labelledby=runs] dd').innerText")
        assert facts == f"eye-1.1 for {ARM} by a desired state of its own, serial 1"
        opened(chromium, own, address, "?view=group&id=factory")
        differing = {row[0]: row[3] for row in rows(chromium, "Enrolled devices")}
        assert differing["factory-00003"] == "a desired state of its own"
        opened(chromium, own, address, VIEWS["running"])
        assert "1 has a desired state of its own and is left out." in text(chromium, ".main-why + .main-why")
        chromium.open("about:blank")


def test_a_device_is_pinned_and_unpinned_with_the_keyboard_alone(chromium: Browser, own: PagesFleet) -> None:
    device = "factory-00004"
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, f"?view=device&id={device}", role="operator")
        assert not chromium.ask("document.querySelector('[data-action=unpin]')")
        chromium.ask("document.querySelector('[data-action=pin]').focus()")
        chromium.press("Enter")
        chromium.wait("document.querySelector('dialog[open]') !== null")
        assert "1 device runs it, whatever group factory runs" in text(chromium, "#dialog-text")
        offered = chromium.ask(
            "[...document.querySelector('dialog [name=release]').options].map((one) => one.value)"
        )
        assert offered == ["eye-1.2", "eye-1.1", "eye-1.0"]
        typed(chromium, "release", "eye-1.0")  # the release that begins so
        chromium.press("Tab")
        assert chromium.ask("document.activeElement.name") == "allow_downgrade"
        chromium.press(" ")
        chromium.press("Enter")
        gone(chromium)
        chromium.wait("document.body.innerText.includes('The order to pin it to eye-1.0 is not signed yet.')")
        own.service.round()
        chromium.wait("document.querySelector('[data-action=unpin]') !== null")
        shall = "document.querySelector('[aria-labelledby=runs] dd').innerText"
        assert chromium.ask(shall) == f"eye-1.0 for {ARM} by a desired state of its own, serial 1"
        assert "is not signed" not in chromium.ask("document.body.innerText")
        with own.store.reading() as book:
            (entry,) = book.audit.page(action="device.pin", limit=10)
        assert (entry.actor, dict(entry.details)) == (
            "user operator-1",
            {"release": "eye-1.0", "allow_downgrade": True},
        )

        chromium.ask("document.querySelector('[data-action=unpin]').focus()")
        chromium.press("Enter")
        chromium.wait("document.querySelector('dialog[open]') !== null")
        assert "1 device follows group factory again" in text(chromium, "#dialog-text")
        confirm(chromium)
        gone(chromium)
        own.service.round()
        chromium.wait("document.querySelector('[data-action=unpin]') === null")
        assert own.field.own == ()
        opened(chromium, own, address, f"?view=device&id={device}", role="viewer")
        chromium.ask("document.querySelector('[data-action=pin]').click()")
        assert chromium.ask("document.querySelector('dialog')") is None
        assert "“Pin to a release” needs the role operator" in text(chromium, "main")
        chromium.open("about:blank")


def test_a_rollout_shows_its_stages_gates_and_failures(
    chromium: Browser, fleet: PagesFleet, address: str
) -> None:
    opened(chromium, fleet, address, VIEWS["running"])
    stages = chromium.ask(
        "[...document.querySelectorAll('ol.stages > li')].map((one) => one.innerText.replace(/\\s+/g, ' '))"
    )
    assert stages[0].startswith("1. canary 10 % ✓ passed 7 succeeded 0 at it 0 absent 0 failed")
    assert "32 succeeded 5 at it 5 absent 2 failed" in stages[1]
    assert "waits: 32 of 44 devices succeeded; 40 are needed, 5 are at it, 5 are absent." in stages[1]
    assert "An approver must let it begin." in stages[2]
    widths = chromium.ask(
        "[...document.querySelectorAll('.overall .bar span')].map((one) => [one.className, one.getBoundingClientRect().width])"
    )
    bar = chromium.ask("document.querySelector('.overall .bar').getBoundingClientRect().width")
    assert dict(widths)["good"] / bar == pytest.approx(39 / 119, abs=0.01)
    gates = chromium.ask(
        "[...document.querySelectorAll('.gate-of')].map((one) => [one.querySelector('h3').textContent, one.querySelector('.chip').innerText])"
    )
    assert gates == [["Median latency", "✓ passed"], ["p95 latency", "✓ passed"], ["Energy per inference", "! not measured"], ["Temperature", "✓ passed"], ["Output disagreement", "! undecided"], ["Crashes", "✓ passed"]]  # fmt: skip
    failed = rows(chromium, "Jobs that failed")
    assert [row[1] for row in failed] == ["✕ failure", "✕ failure"]
    assert {row[2] for row in failed} == {SHOWN, "self test: out of memory"}
    assert (
        chromium.ask("document.querySelector('main [role=status]').textContent")
        == f"{RUNNING}: stage half: 32 of 44 devices succeeded, 2 failed, 5 absent. running."
    )


def test_a_gate_that_failed_lies_beyond_what_is_allowed(
    chromium: Browser, fleet: PagesFleet, address: str
) -> None:
    opened(chromium, fleet, address, VIEWS["stopped"])
    drawn = chromium.ask(
        """[...document.querySelectorAll('.gate-of')].map((one) => { const x = (part, name) => Number(one.querySelector(part).getAttribute(name));
            return [one.className, x('.estimate', 'cx'), x('.interval', 'x1'), x('.allowed', 'x1'), x('.zero', 'x1')]; })"""
    )
    (slow, estimate, low, allowed, zero), (calm, at_rest, _, limit, _) = drawn
    assert "failed" in slow
    assert zero < allowed < low < estimate < 290, "it is drawn within the picture"
    assert "passed" in calm
    assert at_rest < limit
    assert "worse than the 10 % that are allowed" in text(chromium, ".main-why")
    assert chromium.ask("document.querySelectorAll('[data-action]').length") == 0, (
        "it has ended: nothing can be done"
    )


def test_a_release_says_where_it_runs_and_a_group_who_differs(
    chromium: Browser, fleet: PagesFleet, address: str
) -> None:
    opened(chromium, fleet, address, VIEWS["release"])
    found = rows(chromium, "One artifact for each target")
    assert [row[0] for row in found] == [ARM, INTEL]
    assert sum(int(row[1].partition(" ")[0]) for row in found) == 39
    assert [row[0] for row in rows(chromium, "Rollouts that bring it")] == [RUNNING, WAITING]
    opened(chromium, fleet, address, "?view=group&id=stores")
    assert [row[:3] for row in rows(chromium, "Enrolled devices")] == [
        [DRIFTING, f"eye-1.0 for {ARM}", f"eye-1.1 for {ARM}"]
    ]


def test_the_audit_is_read_from_its_newest_entry_and_checked(
    chromium: Browser, fleet: PagesFleet, address: str
) -> None:
    opened(chromium, fleet, address, VIEWS["audit"])
    entries = len(fleet.audited())
    found = rows(chromium, "The audit")
    assert [int(row[0]) for row in found] == list(range(entries, max(entries - 100, 0), -1))
    assert found[0][2:6] == ["user admin-1", "device.decommission", "device/factory-00119", "scrapped"]
    chromium.ask(
        "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Check the chain').click()"
    )
    assert chromium.wait(
        "document.querySelector('.lead [role=status]').textContent.match(/^Whole.*/)?.[0]"
    ).startswith(f"Whole: {entries} entries")


# --- what is done ---


def test_an_approval_is_confirmed_by_keys_and_changes_store_and_audit(
    chromium: Browser, own: PagesFleet
) -> None:
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, f"?view=rollout&id={WAITING}", role="approver")
        chromium.ask("document.querySelector('[data-action=approve]').focus()")
        chromium.press("Enter")
        chromium.wait("document.querySelector('dialog[open]') !== null")
        assert (
            "Stage canary begins at once: about 6 devices (10 % of 58 in group stores) get eye-1.2."
            in text(chromium, "#dialog-text")
        )
        chromium.press("Escape")
        gone(chromium)
        assert chromium.ask("document.activeElement.dataset.action") == "approve"
        assert own.state(WAITING) == "awaiting_approval"

        chromium.press("Enter")
        chromium.wait("document.querySelector('dialog[open]') !== null")
        chromium.press("Tab")
        assert chromium.ask("document.activeElement.type") == "submit"
        chromium.press("Enter")
        gone(chromium)
        chromium.wait("document.querySelector('h1 + .chip').innerText === '• running'")
        chromium.open("about:blank")
    assert own.state(WAITING) == "running"
    with own.store.reading() as book:
        (entry,) = book.audit.page(action="rollout.approve", limit=10)
    assert (entry.actor, entry.subject) == ("user approver-1", f"rollout/{WAITING}")


def test_an_abort_says_what_follows_and_ends_the_rollout(chromium: Browser, own: PagesFleet) -> None:
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, VIEWS["running"], role="operator")
        said = act(chromium, "abort")
        assert "68 devices of group factory, in no stage so far, keep what ran before." in said
        assert "39 devices that run eye-1.2 keep it, and 12 more of its stages may still take it." in said
        assert "10 open jobs end without a result." in said
        confirm(chromium)
        gone(chromium)
        chromium.wait("document.querySelector('h1 + .chip').innerText === '✕ aborted'")
        chromium.open("about:blank")
    assert own.state(RUNNING) == "aborted"
    assert own.audited()[-1] == "rollout.abort"


def test_an_order_on_what_has_changed_meanwhile_is_refused_in_the_dialog(
    chromium: Browser, own: PagesFleet
) -> None:
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, f"?view=rollout&id={WAITING}", role="approver")
        act(chromium, "approve")
        own.done("POST", f"/rollouts/{WAITING}/abort", {})
        chromium.wait("document.querySelector('h1 + .chip').innerText === '✕ aborted'")  # under the dialog
        confirm(chromium)
        told = chromium.wait("document.querySelector('dialog [role=alert]')?.innerText")
        assert "it is at revision" in told
        assert own.state(WAITING) == "aborted"
        chromium.open("about:blank")
    chromium.problems.clear()  # the browser logs the refusal


def test_a_device_is_revoked_with_a_reason(chromium: Browser, own: PagesFleet) -> None:
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, "?view=device&id=lab-00017", role="operator")
        assert chromium.ask(
            "[...document.querySelectorAll('[data-action]')].map((one) => one.dataset.action)"
        ) == ["approve", "tags", "move", "revoke", "decommission", "pin"]
        assert "1 device loses its certificates" in act(chromium, "revoke")
        chromium.ask("document.querySelector('dialog input').focus()")
        for key in "lost":
            chromium.press(key)
        confirm(chromium)
        gone(chromium)
        chromium.wait("document.querySelector('h1 + .chip').innerText === '✕ revoked'")
        chromium.open("about:blank")
    with own.store.reading() as book:
        assert book.devices.get("lab-00017").state == "revoked"
        entry = book.audit.last()
    assert entry is not None
    assert (entry.action, dict(entry.details)) == ("device.revoke", {"reason": "lost"})


def typed(chromium: Browser, name: str, words: str) -> None:
    """Type into a field of the dialog."""
    chromium.ask(f"document.querySelector('dialog [name={name}]').focus()")
    for key in words:
        chromium.press(key)


def filed(chromium: Browser, content: object) -> None:
    """Choose a file in the dialog."""
    chromium.ask(
        f"""(() => {{
            const chosen = new DataTransfer();
            chosen.items.add(new File([{json.dumps(json.dumps(content))}], "eye-1.3.json"));
            const field = document.querySelector("dialog [type=file]");
            field.files = chosen.files;
            field.dispatchEvent(new Event("change", {{ bubbles: true }}));
        }})()"""
    )


def test_a_release_then_a_plan_and_a_claim_token_are_made_from_the_page(
    chromium: Browser, own: PagesFleet
) -> None:
    signed = fleet_of_page.release("1.3", 4) | {"schema_version": "1.0", "id": "eye-1.3", "created_by": "x"}
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, "?view=releases", role="operator")
        assert "no device changes" in act(chromium, "add-release")
        filed(chromium, {"model": "eye"})
        confirm(chromium)
        chromium.wait("document.querySelector('dialog [role=alert]') !== null")
        assert "version, counter, artifacts are missing" in text(chromium, "dialog [role=alert]")
        filed(chromium, signed)
        confirm(chromium)
        gone(chromium)
        chromium.wait("[...document.querySelectorAll('tbody th')].some((one) => one.innerText === 'eye-1.3')")

        opened(chromium, own, address, "?view=rollouts", role="operator")
        act(chromium, "plan")
        typed(chromium, "id", "r9")
        assert chromium.ask("document.querySelector('dialog [name=release]').value") == "eye-1.3"
        typed(chromium, "group", "s")  # the group that begins so
        confirm(chromium)
        chromium.wait("document.querySelector('h1').innerText === 'r9'")
        chromium.wait("document.querySelector('h1 + .chip').innerText === '• draft'")

        opened(chromium, own, address, "?view=group&id=lab", role="operator")
        chromium.ask("document.querySelector('[data-action=claim]').focus()")
        chromium.press("Enter")
        chromium.wait("document.querySelector('dialog[open]') !== null")
        typed(chromium, "device", "lab-9")
        chromium.press("Enter")
        chromium.wait("document.activeElement.name === 'made'")
        secret = chromium.ask("document.activeElement.value")
        assert secret == "claim-lab-lab-9-86400-False"
        chromium.press("Escape")
        gone(chromium)
        assert secret not in chromium.ask("document.documentElement.outerHTML")
        assert chromium.ask("document.activeElement.dataset.action") == "claim"
        chromium.open("about:blank")
    with own.store.reading() as book:
        assert book.releases.get("eye-1.3").counter == 4
        planned = book.rollouts.get("r9")
        actions = [entry.action for entry in book.audit.all()][-3:]
    assert (planned.state, planned.plan.group, planned.plan.rolls_back) == ("draft", "stores", True)
    assert planned.plan.stages[0].name == "canary"
    assert actions == ["release.add", "rollout.create", "claim.make"]


def test_claim_tokens_of_a_group_are_listed_and_revoked_with_the_keyboard_alone(
    chromium: Browser, own: PagesFleet
) -> None:
    mine = own.enrolment.token(group="lab", lifetime=timedelta(hours=1), device="lab-9", needs_approval=True)
    own.enrolment.token(group="stores", lifetime=timedelta(hours=1), device="", needs_approval=False)
    claim = own.enrolment.claim_id(mine)
    with fleet_of_page.serving(own, listening()) as address:
        opened(chromium, own, address, "?view=group&id=lab", role="operator")
        chromium.wait(
            "document.querySelector('#claims') !== null && document.body.innerText.includes('lab-9')"
        )
        ((name, state, who, approval, _, used, _),) = rows(chromium, "Tokens with which")
        assert (name, state, who, approval, used) == (claim, "✓ good", "lab-9", "needed", "–")
        button = f"[data-action=revoke-claim-{claim}]"
        chromium.ask(f"document.querySelector({button!r}).focus()")
        chromium.press("Enter")
        chromium.wait("document.querySelector('dialog[open]') !== null")
        assert "Device lab-9 cannot enrol into group lab with it" in text(chromium, "dialog")
        chromium.press("Escape")
        gone(chromium)
        assert own.enrolment.issued[claim].state == "good"
        chromium.press("Enter")
        chromium.wait("document.querySelector('dialog[open]') !== null")
        confirm(chromium)
        gone(chromium)
        chromium.wait(f"document.querySelector({button!r}) === null")
        assert rows(chromium, "Tokens with which")[0][1] == "✕ revoked"
        fresh = own.enrolment.token(
            group="lab", lifetime=timedelta(hours=1), device="lab-13", needs_approval=False
        )
        assert own.enrolment.claim_id(fresh) > claim, "by its id it comes last"
        opened(chromium, own, address, "?view=group&id=lab", role="operator")
        chromium.wait("document.body.innerText.includes('lab-13')")
        assert [row[1] for row in rows(chromium, "Tokens with which")] == ["✓ good", "✕ revoked"]
        opened(chromium, own, address, "?view=group&id=lab", role="viewer")
        assert "Claim tokens are shown to the role operator; yours is viewer." in text(chromium, "main")
        chromium.open("about:blank")


@pytest.mark.parametrize(
    ("role", "allowed"), [("viewer", []), ("operator", ["abort"]), ("approver", ["approve", "abort"])]
)
def test_what_a_role_may_not_do_says_so_and_does_nothing(
    chromium: Browser, fleet: PagesFleet, address: str, role: Role, allowed: list[str]
) -> None:
    opened(chromium, fleet, address, f"?view=rollout&id={WAITING}", role=role)
    found = chromium.ask(
        "[...document.querySelectorAll('[data-action]')].filter((one) => one.getAttribute('aria-disabled') === 'false').map((one) => one.dataset.action)"
    )
    assert found == allowed
    if "approve" not in allowed:
        chromium.ask("document.querySelector('[data-action=approve]').click()")
        assert chromium.ask("document.querySelector('dialog')") is None
        reason = chromium.ask(
            "document.getElementById(document.querySelector('[data-action=approve]').getAttribute('aria-describedby')).textContent"
        )
        refused = ["“Approve” needs the role approver"] + ["“Abort” needs the role operator"] * (
            role == "viewer"
        )
        assert reason == "; ".join([*refused, f"yours is {role}."])


# --- live ---


def test_what_changes_arrives_without_asking_and_a_lost_connection_is_said_and_mended(
    chromium: Browser, own: PagesFleet
) -> None:
    port = free_port()  # for twice: nobody else gets it in between
    opened_socket = listening(port)
    failed = "[...document.querySelectorAll('ol.stages > li')][1].innerText.includes('{} failed')"
    open_jobs = own.done("GET", f"/rollouts/{RUNNING}/jobs?stage=1&state=download")["items"]
    with fleet_of_page.serving(own, opened_socket) as address:
        opened(chromium, own, address, VIEWS["running"])
        chromium.ask("window.same = true")
        own.pass_time(10)
        own.say(open_jobs[0]["device"], "update_rolled_back", "1.2", reason="no space left")
        own.service.round()
        chromium.wait(failed.format(3))
        chromium.wait("[...document.querySelectorAll('td')].some((one) => one.innerText === 'no space left')")
    assert chromium.wait("document.querySelector('.live.lost')?.innerText").startswith("Connection lost at ")
    own.pass_time(10)
    own.say(open_jobs[1]["device"], "update_rolled_back", "1.2", reason="no power")
    own.service.round()
    with fleet_of_page.serving(own, listening(port)):
        chromium.wait("document.querySelector('.live').innerText === 'Live'")
        chromium.wait(failed.format(4))
        chromium.wait("document.querySelector('main > .problem, main [role=alert]') === null")
        assert chromium.ask("window.same") is True, "the page was loaded anew"
        chromium.open("about:blank")
    # However a connection is lost, the browser logs it.
    chromium.problems[:] = [one for one in chromium.problems if "net::ERR_" not in one]


def test_a_page_that_nobody_sees_gives_its_stream_back(
    chromium: Browser, fleet: PagesFleet, address: str
) -> None:
    for _ in range(7):  # a browser has six connections to a server
        opened(chromium, fleet, address, VIEWS["releases"], role="viewer")


# --- who comes in, and what comes in with devices ---


def test_the_token_is_asked_for_once_and_kept_in_the_tab_alone(chromium: Browser, own: PagesFleet) -> None:
    with fleet_of_page.serving(own, listening()) as address:
        chromium.open(address + VIEWS["rollouts"])
        chromium.wait("document.getElementById('token') !== null")
        chromium.ask("sessionStorage.clear()")
        chromium.open("about:blank")
        chromium.open(address + VIEWS["rollouts"])
        chromium.wait("document.activeElement.id === 'token'")
        entered(chromium, "guess")
        chromium.wait(
            "document.getElementById('token-problem').textContent === 'This token is not good here.'"
        )
        entered(chromium, own.secret("viewer"))
        settled(chromium)
        assert text(chromium, "h1") == "Rollouts", "the address was kept"
        kept = chromium.ask(
            "[location.href, document.cookie, JSON.stringify(localStorage), document.documentElement.outerHTML]"
        )
        assert all(own.secret("viewer") not in one for one in kept)
        assert chromium.ask(f"sessionStorage.getItem({KEY!r})") == own.secret("viewer")
        assert not [url for url in chromium.asked if own.secret("viewer") in url]

        token = own.done("GET", "/me", role="viewer")["token"]
        own.done("DELETE", f"/tokens/{token}")
        chromium.wait(
            "document.getElementById('token-problem')?.textContent === 'The token is not good any more.'"
        )
        assert chromium.ask(f"sessionStorage.getItem({KEY!r})") is None
        chromium.open("about:blank")
    chromium.problems[:] = [one for one in chromium.problems if "401" not in one]


def entered(chromium: Browser, token: str) -> None:
    chromium.ask(
        f"(() => {{ const field = document.getElementById('token'); field.value = {json.dumps(token)}; field.form.requestSubmit(); }})()"
    )


@pytest.mark.parametrize("view", ["group", "device", "devices", "running", "fleet"])
def test_what_devices_say_is_only_ever_text(
    chromium: Browser, fleet: PagesFleet, address: str, view: str
) -> None:
    opened(chromium, fleet, address, VIEWS[view])
    assert chromium.wait(f"document.body.innerText.includes({json.dumps(SHOWN)})"), (
        "it is shown, to the letter"
    )
    assert chromium.ask("typeof window.owned") == "undefined"
    assert (
        chromium.ask(
            "document.querySelectorAll('#page img, #page script, #page style, #page a[href^=javascript]').length"
        )
        == 0
    )


@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ("?view=device&id=nobody", "nobody"),
        ("?view=rollout&id=none", "none"),
        ("?view=group&id=none", "none"),
        ("?view=release&id=none-1.0", "none-1.0"),
        ("?view=device", "There is no such view"),
        ("?view=nothing", "There is no such view"),
        ("?view=__proto__", "There is no such view"),
        ("?view=devices&search=%00", "Devices"),
    ],
)
def test_an_address_of_nothing_says_so(
    chromium: Browser, fleet: PagesFleet, address: str, query: str, heading: str
) -> None:
    entered_as(chromium, fleet, address, query, role="viewer")
    chromium.wait(
        "document.querySelector('main [role=alert]')?.innerText.length > 10 || document.querySelector('h1')?.innerText === 'There is no such view'"
    )
    assert text(chromium, "h1") == heading, "a reader of the screen is told where it is, whatever is there"
    chromium.wait("document.readyState === 'complete'")
    chromium.open("about:blank")  # what is still on its way comes to nothing
    chromium.ask("0")
    chromium.problems[:] = [one for one in chromium.problems if "404" not in one and "422" not in one]


# --- for everybody ---


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off_at_360_pixels(
    chromium: Browser, fleet: PagesFleet, address: str, dark: bool
) -> None:
    options = "{ runOnly: ['color-contrast'] }" if dark else "{}"  # only colours differ
    for view in (
        ("fleet", "device", "running", "stopped")
        if dark
        else ("fleet", "group", "devices", "device", "running", "audit")
    ):
        chromium.shape(dark=dark)
        opened(chromium, fleet, address, VIEWS[view])
        chromium.ask(AXE.read_text() + "; 0")
        if view == "running":
            act(chromium, "rollback")
        found = chromium.ask(
            f"axe.run(document, {options}).then(({{ violations }}) => violations.map((one) => [one.impact, one.id, one.nodes.map((node) => node.html + node.failureSummary).slice(0, 3)]))"
        )
        assert [one for one in found if one[0] in ("serious", "critical")] == [], view
        chromium.shape(width=360, height=700, dark=dark)
        assert chromium.ask("document.documentElement.scrollWidth") <= 360, view


def test_the_longest_names_do_not_widen_a_dialog(chromium: Browser, own: PagesFleet) -> None:
    longest = "W" * 64
    own.done("POST", "/devices", {"id": longest, "group": "lab"})
    with fleet_of_page.serving(own, listening()) as address:
        chromium.shape(width=360, height=740)
        opened(chromium, own, address, f"?view=device&id={longest}")
        assert "1 device loses its certificates" in act(chromium, "revoke")
        wide, room = chromium.ask(
            "(() => { const box = document.querySelector('dialog'); return [box.scrollWidth, box.clientWidth]; })()"
        )
        assert wide <= room
        chromium.open("about:blank")


def test_every_control_is_reached_by_the_tab_key_and_shows_its_focus(
    chromium: Browser, fleet: PagesFleet, address: str
) -> None:
    opened(chromium, fleet, address, f"?view=rollout&id={WAITING}", role="approver")
    wanted = chromium.ask(
        "[...document.querySelectorAll('#page a[href], #page button, #page select, #page input, #page summary, #page [tabindex=\"0\"]')].length"
    )
    chromium.ask("window.seen = new Set(); document.body.focus()")
    for _ in range(wanted):
        chromium.press("Tab")
        outlined = chromium.ask(
            "(() => { window.seen.add(document.activeElement); const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; })()"
        )
        assert outlined, chromium.ask("document.activeElement.outerHTML")
    assert chromium.ask("window.seen.size") == wanted


def test_the_policy_lets_no_inline_script_run_and_the_library_is_the_published_one(address: str) -> None:
    with urllib.request.urlopen(address) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    with urllib.request.urlopen(f"{address}static/preact-htm.js") as answer:
        digest = hashlib.sha256(answer.read()).hexdigest()
    documented = (Path(__file__).parents[2] / "docs" / "dependencies.md").read_text()
    assert digest in documented
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}static/..%2fpage.py")
    refused.value.close()
    assert refused.value.code == 404


def test_drift_is_told_by_the_interface(fleet: PagesFleet) -> None:
    told: list[dict[str, Any]] = fleet.done("GET", "/drift", role="viewer")
    assert told == [
        {"group": "factory", "as_desired": 107, "underway": 10, "differing": 2, "silent": 0, "free": 0},
        {"group": "lab", "as_desired": 17, "underway": 0, "differing": 0, "silent": 0, "free": 0},
        {"group": "stores", "as_desired": 57, "underway": 0, "differing": 1, "silent": 0, "free": 0},
    ]
    assert fleet.done("GET", f"/devices/{DRIFTING}/desired", role="viewer") == {
        "device": DRIFTING,
        "desired": artifact("eye", "1.0", ARM)["digest"],
        "reported": artifact("eye", "1.1", ARM)["digest"],
        "rollout": None,
        "own_serial": None,
        "unsigned": None,
    }
    assert fleet.ask("GET", "/groups/none/drift", role="viewer").status_code == 404
