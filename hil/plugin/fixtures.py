"""The fixtures. `rig`, `broker`, `telemetry` and `artifact` are the session's; `agent`, `measure` and `golden` the test's."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from hil.errors import RigError
from hil.plugin.options import rig_key, session_key
from hil.plugin.record import TestRecord
from hil.protocols import FEATURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device_agent.contract.archive import ArtifactArchive
    from hil.agent import Agent
    from hil.broker import Broker
    from hil.golden import GoldenComparison
    from hil.rig import Rig
    from hil.telemetry import Telemetry

    Property = Callable[[str, object], None]

record_key: pytest.StashKey[TestRecord] = pytest.StashKey()
_devices_key: pytest.StashKey[Counter[str]] = pytest.StashKey()
"""Of a session: how many agents there were whose id begins alike."""
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]+")
_ID_LENGTH = 48


class Measure(Protocol):
    """What the fixture `measure` is."""

    def __call__(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        low: float | None = None,
        high: float | None = None,
        margin: float = 0.0,
        note: str = "",
    ) -> None:
        """Record a number; beyond a limit the test fails at its end, with every such number named. See `Measurement`."""
        ...


def record_of(item: pytest.Item) -> TestRecord:
    """Return what a test leaves behind."""
    return item.stash.setdefault(record_key, TestRecord())


@pytest.fixture(autouse=True)
def features_of_the_rig(request: pytest.FixtureRequest) -> None:
    """Skip a test whose marker ``needs`` names a feature that the rig lacks."""
    wanted = [feature for marker in request.node.iter_markers("needs") for feature in marker.args]
    if not wanted:
        return
    unknown = [feature for feature in wanted if feature not in FEATURES]
    if unknown:
        pytest.fail(
            f"marker needs: {unknown[0]!r} is no feature; there are {', '.join(FEATURES)}", pytrace=False
        )
    rig: Rig = request.getfixturevalue("rig")
    missing = [feature for feature in wanted if feature not in rig.features]
    if missing:
        pytest.skip(f"rig {rig.board.name!r} has no {', '.join(missing)}; it has {', '.join(rig.features)}")


@pytest.fixture
def hil_record(request: pytest.FixtureRequest) -> TestRecord:
    """Return what this test leaves behind: curves and logs for the page."""
    return record_of(request.node)


@pytest.fixture(scope="session")
def rig(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    record_testsuite_property: Property,
) -> Iterator[Rig]:
    """Return the board that ``--rig`` names; the tests are skipped without it."""
    name = request.config.getoption("--rig")
    if not name:
        pytest.skip("no rig: say pytest --rig local, or --rig FILE of a board")
    from hil.facts import host_facts, rig_facts  # noqa: PLC0415  heavy, and not needed without a rig
    from hil.rig import open_rig  # noqa: PLC0415

    opened = open_rig(name, tmp_path_factory.mktemp("rig"))
    request.config.stash[rig_key] = opened
    _tell(
        request,
        record_testsuite_property,
        rig_facts(opened) | host_facts(request.config.invocation_params.dir),
    )
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def broker(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    record_testsuite_property: Property,
) -> Iterator[Broker]:
    """Return a running broker on this machine; the board finds it through ``rig.network``."""
    from hil.broker import Broker  # noqa: PLC0415
    from hil.facts import broker_facts  # noqa: PLC0415

    started = Broker(tmp_path_factory.mktemp("broker"))
    started.start()
    _tell(request, record_testsuite_property, broker_facts(started))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def telemetry(broker: Broker) -> Iterator[Telemetry]:
    """Return what is heard from the broker."""
    from hil.telemetry import listening  # noqa: PLC0415

    with listening(broker) as heard:
        yield heard


@pytest.fixture(scope="session")
def artifact(
    request: pytest.FixtureRequest,
    rig: Rig,
    tmp_path_factory: pytest.TempPathFactory,
    record_testsuite_property: Property,
) -> ArtifactArchive:
    """Return the artifact of ``--rig-artifact``, every member checked; without it a small network, converted for the board.

    ``null`` is one for the null engine.
    """
    from hil.artifact import open_artifact, sample_artifact  # noqa: PLC0415
    from hil.facts import artifact_facts  # noqa: PLC0415
    from hil.null_artifact import write_null_artifact  # noqa: PLC0415

    named = request.config.getoption("--rig-artifact")
    target = rig.board.section.targets[0]
    if named == "null":
        path = tmp_path_factory.mktemp("null") / "nothing.ewa"
        write_null_artifact(path)
    else:
        path = Path(named) if named else sample_artifact(tmp_path_factory.mktemp("sample"), target)
    archive = open_artifact(path)
    _tell(request, record_testsuite_property, artifact_facts(archive))
    return archive


@pytest.fixture
def make_agent(
    request: pytest.FixtureRequest, rig: Rig, broker: Broker, telemetry: Telemetry, artifact: ArtifactArchive
) -> Iterator[Callable[..., Agent]]:
    """Return what makes agents, for tests with several or with artifacts of their own; each is killed at the test's end."""
    from hil.agent import Agent  # noqa: PLC0415

    made: list[Agent] = []

    def make(*, artifact: ArtifactArchive = artifact) -> Agent:
        agent = Agent(
            rig,
            artifact=artifact,
            telemetry=telemetry,
            broker_port=broker.port,
            device=_new_device(request.config, request.node.name),
        )
        made.append(agent)
        return agent

    yield make
    record = record_of(request.node)
    for agent in made:
        if (
            agent.state == "off" and rig.broken is None
        ):  # its log is to be read, and the next test wants a board that is on
            agent.to("booted")
        agent.close()
        if rig.broken is None:
            record.add_log(f"log of {agent.device}", agent.log())
    _put_back(rig, broker, telemetry)
    if rig.parts.console is not None:  # of a board that is down most of all
        with contextlib.suppress(RigError):
            record.add_log("console", rig.console.text())


def _put_back(rig: Rig, broker: Broker, telemetry: Telemetry) -> None:
    """Undo what a test that failed half way has left: the next one takes a whole line, the true pace and a broker for granted."""
    for link in rig.network.links() if rig.parts.network is not None else ():
        link.mend()
        link.slow_down(0.0)
        link.read_slowly(0.0)
    if not broker.is_running:
        broker.start()
        telemetry.wait_until_heard()
    if rig.parts.clock is not None and rig.broken is None:
        rig.clock.hurry(1.0)
    if rig.parts.interface is not None and rig.broken is None:
        rig.interface.plug_in()
        rig.interface.shape()


@pytest.fixture
def agent(make_agent: Callable[..., Agent]) -> Agent:
    """Return an agent with the artifact on the board, not started: ``agent.start()`` brings it to ``model_active``."""
    return make_agent()


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Return what records a `Measurement`."""
    from hil.measurement import Measurement  # noqa: PLC0415

    record = record_of(request.node)

    def take(
        name: str,
        value: float,
        unit: str,
        *,
        low: float | None = None,
        high: float | None = None,
        margin: float = 0.0,
        note: str = "",
    ) -> None:
        taken = Measurement(
            name=name, value=float(value), unit=unit, low=low, high=high, margin=margin, note=note
        )
        record.measurements.append(taken)
        request.node.user_properties.append((f"measurement:{name}", str(taken)))

    return take


@pytest.fixture
def golden(rig: Rig, artifact: ArtifactArchive) -> GoldenComparison:
    """Return what holds outputs against the artifact's golden ones, with the tolerance of its engine on this board."""
    from hil.golden import GoldenComparison  # noqa: PLC0415

    return GoldenComparison(artifact, tolerances=rig.board.tolerances)


def _new_device(config: pytest.Config, test: str) -> str:
    """Return an id that nobody in this session has: tests of two files may have one name, and long names begin alike."""
    stem = _NOT_IN_AN_ID.sub("-", test)[:_ID_LENGTH].strip("-")
    taken = config.stash.setdefault(_devices_key, Counter())
    taken[stem] += 1
    return f"{stem}-{taken[stem] - 1}"


def _tell(request: pytest.FixtureRequest, record_property: Property, facts: dict[str, str]) -> None:
    request.config.stash[session_key].facts.update(facts)
    for name, value in facts.items():
        record_property(name, value)
