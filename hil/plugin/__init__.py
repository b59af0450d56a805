"""The pytest plugin. Installed with the extra ``hil``, pytest finds it by itself; without ``--rig`` it does nothing but skip what asks for one.

Layout:
    options.py      command line and markers
    fixtures.py     rig, broker, telemetry, artifact, agent, measure, golden
    record.py       what a test leaves behind for JUnit and the page
    hooks.py        broken rigs, what a rig cannot do, measurements beyond their limits
    reporter.py     the page
"""

from hil.plugin.fixtures import (
    agent,
    artifact,
    broker,
    features_of_the_rig,
    golden,
    hil_record,
    make_agent,
    measure,
    rig,
    telemetry,
)
from hil.plugin.hooks import (
    pytest_pyfunc_call,
    pytest_runtest_makereport,
    pytest_runtest_setup,
)
from hil.plugin.options import pytest_addoption, pytest_configure, pytest_report_header

__all__ = [
    "agent",
    "artifact",
    "broker",
    "features_of_the_rig",
    "golden",
    "hil_record",
    "make_agent",
    "measure",
    "pytest_addoption",
    "pytest_configure",
    "pytest_pyfunc_call",
    "pytest_report_header",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "rig",
    "telemetry",
]
