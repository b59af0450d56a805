"""What a rig cannot do is skipped with its reason, so is everything once it is broken; what was measured beyond its limits fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.errors import RigError, UnsupportedFeatureError
from hil.plugin.fixtures import record_of
from hil.plugin.options import session_key

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Skip what cannot be set up here."""
    broken = item.config.stash[session_key].broken
    if broken and "rig" in getattr(item, "fixturenames", ()):
        test, cause = broken
        pytest.skip(f"the rig is broken since {test}: {cause}")
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
    if not session.broken and isinstance(error, RigError):
        session.broken = (item.nodeid, str(error))
    if report.when == "teardown":
        # Attributes of a report travel from pytest-xdist's workers to the session that writes the page.
        report.__dict__["hil"] = record_of(item).document()
        report.__dict__["hil_facts"] = dict(session.facts)
    return report
