"""What a rig cannot do is skipped with its reason, so is all once it is broken or its board down; what was measured beyond its limits fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device_agent.contract.errors import ContractError, StorageError, TrustError
from hil.errors import BootError, RigError, UnsupportedFeatureError
from hil.plugin.fixtures import record_of
from hil.plugin.options import rig_key, session_key
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator

_OF_BOARD_OR_ARTIFACT = (InputError, ContractError, TrustError, StorageError, RigError, BootError)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Skip what cannot be set up here."""
    no_use = item.config.stash[session_key].no_use
    if no_use and "rig" in getattr(item, "fixturenames", ()):
        pytest.skip(no_use)
    try:
        return (yield)
    except UnsupportedFeatureError as error:
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail a test that passed by itself for what it measured."""
    try:
        result = yield
    except UnsupportedFeatureError as error:
        pytest.skip(str(error))
    beyond = [one for one in record_of(pyfuncitem).measurements if one.verdict == "fail"]
    if beyond:
        pytest.fail("\n".join(["beyond limits:", *(f"  {one}" for one in beyond)]), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a rig's failure, and put on the report what the test left behind."""
    report = yield
    session = item.config.stash[session_key]
    error = call.excinfo.value if call.excinfo else None
    if report.when == "setup" and isinstance(error, _OF_BOARD_OR_ARTIFACT):
        report.longrepr = str(error)  # where in our code it was found is of no use to whoever has the board
    failure = _failure_of_rig(item, error)
    if failure is not None:
        session.note(item.nodeid, failure)
    if report.when == "teardown":
        # Attributes of a report travel from pytest-xdist's workers to the session that writes the page.
        report.__dict__["hil"] = record_of(item).document()
        report.__dict__["hil_facts"] = dict(session.facts)
    return report


def _failure_of_rig(item: pytest.Item, error: BaseException | None) -> RigError | BootError | None:
    """Return what a test ended with when it is the rig's, or what it met and took in hand itself, as a suite that counts bricks does."""
    rig = item.config.stash.get(rig_key, None)
    if isinstance(error, BootError) and rig is not None and rig.broken is None:
        rig.broken = error  # nobody shall ask a board that is down for its logs
    if isinstance(error, (RigError, BootError)):
        return error
    return rig.broken if rig is not None else None
