"""Who is built from what: from the configuration to the parts of one run. The only place that knows which part needs which."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from device_agent.beside.alone import Alone
from device_agent.broker import begin_connection, broker_settings, courier_limits
from device_agent.commands.post import CommandPost
from device_agent.config import frames_topic, named_models
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.topics import DeviceTopics
from device_agent.core import Core, Timing
from device_agent.enrolment.renewal import Renewal
from device_agent.frames import FrameDoor
from device_agent.heat.control import HeatControl
from device_agent.heat.policy import HeatPolicy
from device_agent.heat.temperature import declared_rules
from device_agent.inbox import WAKE, UpdateAnswer
from device_agent.model_results import ModelResults
from device_agent.model_runner import ModelRunner
from device_agent.reporter import Reporter
from device_agent.sensors.host import boot_id, clock_is_synchronized
from device_agent.sensors.survey import Sensors, find_vcgencmd
from device_agent.telemetry.courier import Courier
from device_agent.telemetry.recorder import Recorder
from device_agent.telemetry.refusals import Refusals
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import Stamper
from device_agent.telemetry.subscription import Subscription
from device_agent.update.in_the_loop import UpdatesOff, UpdatesOn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device_agent.beside.models import Beside
    from device_agent.config import AgentConfig
    from device_agent.contract.telemetry.message import Scalar
    from device_agent.inbox import Inbox
    from device_agent.occurrences import ModelOrdered
    from device_agent.telemetry.link import BrokerSettings
    from device_agent.telemetry.subscription import Incoming
    from device_agent.update.updated_model import UpdatedModel

_COUNTER_SECONDS: Final = 10.0
"""Energy counters wrap after some minutes at full power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the loop works with.

    Attributes:
        core: Decides.
        spool: Where messages wait.
        stamper: Numbers and dates them.
        recorder: Writes them into the spool.
        refusals: Counts those that the broker refuses.
        commands: Takes commands from afar.
        courier: Brings messages to the broker.
        heat: Reads the temperature, and holds the models when it is hot.
        renewal: Keeps the certificate valid.
        updates: Bring other models.
        runner: Runs the model.
        beside: The models beside it.
        results: What the model gives.
        reporter: Reports what the agent is and does.
    """

    core: Core
    spool: Spool
    stamper: Stamper
    recorder: Recorder
    refusals: Refusals
    commands: CommandPost
    courier: Courier
    heat: HeatControl
    renewal: Renewal
    updates: UpdatesOn | UpdatesOff
    runner: ModelRunner
    beside: Beside | Alone
    results: ModelResults
    reporter: Reporter


def assemble(
    config: AgentConfig,
    inbox: Inbox,
    *,
    order_model: Callable[[ModelOrdered], None],
    snapshot: Callable[[], Mapping[str, Scalar]],
    restart: Callable[[str], None],
    tell_birth: Callable[[], None],
) -> Parts:
    """Build the parts of one run.

    Args:
        config: What the agent is told.
        inbox: Where they report.
        order_model: Begins a command about the model.
        snapshot: Returns what is worth knowing, for the command of this name.
        restart: Ends this process in order and begins it anew.
        tell_birth: Records the birth message anew: one of several models has changed.

    Raises:
        ConfigError: The password cannot be had, a TLS file cannot be used, the device is not enrolled, or updates cannot be
            used.
        TrustError: The identity is another device's, or damaged.
        StoreLockedError: Another agent holds the spool.
    """
    settings = broker_settings(config)  # before anything is opened, for it may be wrong
    core = _core(config)
    spool = _spool(config)
    lost_before = spool.lost_total.total
    run_id = boot_id()
    stamper = _stamper(run_id)
    recorder = Recorder(
        spool=spool,
        stamper=stamper,
        topics=DeviceTopics(config.device.id, config.mqtt.topic_root),
        payload_max_bytes=config.mqtt.payload_max_bytes,
        local_stamper=_stamper(f"{run_id}-local"),
    )
    commands = CommandPost(
        config,
        recorder=recorder,
        wake=partial(inbox.put, WAKE),
        wall=stamper.wall,
        order_model=order_model,
        snapshot=snapshot,
    )
    doors = {name: FrameDoor() for name, _ in named_models(config)}
    subscriptions = (*commands.subscriptions, *_frames(config, doors))
    courier = _courier(config, settings, spool, recorder, subscriptions, inbox)
    sensors = _sensors(config)
    renewal = Renewal(
        config.identity,
        device=config.device.id,
        recorder=recorder,
        wall_seconds=time,
        jitter=random.random,
    )
    updates = _updates(config, inbox, recorder, restart)
    runner = ModelRunner(
        replace(config, artifact=updates.artifact),
        report=inbox.put,
        door=doors[MAIN_MODEL],
        updated=updates.models.get(MAIN_MODEL),
    )
    beside = _beside(config, inbox, recorder, doors, tell_birth, updates.models)
    reporter = Reporter(
        config,
        recorder=recorder,
        spool=spool,
        stamper=stamper,
        sensors=sensors,
        runner=runner,
        beside=beside,
        lost_before=lost_before,
    )
    return Parts(
        core=core,
        spool=spool,
        stamper=stamper,
        recorder=recorder,
        refusals=Refusals(recorder),
        commands=commands,
        courier=courier,
        heat=HeatControl(sensors, config.heat.sensors, runner=runner, beside=beside),
        renewal=renewal,
        updates=updates,
        runner=runner,
        beside=beside,
        results=ModelResults(config, runner, recorder, inbox, model=beside.main_name),
        reporter=reporter,
    )


def _core(config: AgentConfig) -> Core:
    rules = declared_rules(config.heat)
    heat_seconds = float("inf")  # samples come often enough
    if rules is not None:
        heat_seconds = config.heat.interval_seconds
    elif config.telemetry.interval_seconds > _COUNTER_SECONDS:
        heat_seconds = _COUNTER_SECONDS
    timing = Timing(
        window_seconds=config.telemetry.interval_seconds,
        drain_timeout_seconds=config.spool.drain_timeout_seconds,
        heat_seconds=heat_seconds,
        policy_seconds=config.heat.interval_seconds,
        retry_min_seconds=config.engine.retry_min_seconds,
        retry_max_seconds=config.engine.retry_max_seconds,
    )
    return Core(timing, None if rules is None else HeatPolicy(rules))


def _spool(config: AgentConfig) -> Spool:
    return Spool(
        config.spool.path,
        SpoolLimits(
            max_bytes=config.spool.max_bytes,
            max_rows=config.spool.max_messages,
            memory_max_bytes=config.spool.memory_max_bytes,
        ),
    )


def _stamper(run_id: str) -> Stamper:
    return Stamper(
        boot_id=run_id, wall_seconds=time, monotonic_seconds=monotonic, synchronized=clock_is_synchronized
    )


def _frames(config: AgentConfig, doors: Mapping[str, FrameDoor]) -> tuple[Subscription, ...]:
    """Listen once to every topic that frames come from; what comes there goes to every model that wants it."""
    wanted: dict[str, list[FrameDoor]] = {}
    for name, one in named_models(config):
        if one.source.kind == "mqtt":
            wanted.setdefault(frames_topic(one, name), []).append(doors[name])
    return tuple(
        Subscription(topic=topic, what="frames", take=_to_all(takers), required=True)
        for topic, takers in wanted.items()
    )


def _to_all(doors: Sequence[FrameDoor]) -> Callable[[Incoming], None]:
    def take(message: Incoming) -> None:
        for door in doors:
            door(message)

    return doors[0] if len(doors) == 1 else take


def _beside(
    config: AgentConfig,
    inbox: Inbox,
    recorder: Recorder,
    doors: Mapping[str, FrameDoor],
    changed: Callable[[], None],
    updated: Mapping[str, UpdatedModel],
) -> Beside | Alone:
    if not config.model:
        return Alone()
    from device_agent.beside.models import Beside  # noqa: PLC0415  who has one model pays for no other

    return Beside(config, inbox=inbox, recorder=recorder, doors=doors, changed=changed, updated=updated)


def _courier(
    config: AgentConfig,
    settings: BrokerSettings,
    spool: Spool,
    recorder: Recorder,
    subscriptions: tuple[Subscription, ...],
    inbox: Inbox,
) -> Courier:
    return Courier(
        spool=spool,
        limits=courier_limits(config.mqtt),
        open_connection=lambda number: begin_connection(
            number,
            settings,
            will=recorder.will(),
            report=inbox.put,
            subscriptions=subscriptions,
        ),
        jitter=random.random,
    )


def _sensors(config: AgentConfig) -> Sensors:
    return Sensors(
        sysfs_root=config.sensors.sysfs_root,
        state_directory=config.spool.path.parent,
        pss_interval_seconds=config.telemetry.pss_interval_seconds,
        vcgencmd=find_vcgencmd(config.sensors.vcgencmd, config.sensors.sysfs_root),
    )


def _updates(
    config: AgentConfig, inbox: Inbox, recorder: Recorder, restart: Callable[[str], None]
) -> UpdatesOn | UpdatesOff:
    if config.update.url is None:
        return UpdatesOff(config.artifact)
    from device_agent.update.updates import Updates  # noqa: PLC0415  who wants none pays for none

    updates = Updates(
        config,
        report=lambda answer: inbox.put(UpdateAnswer(answer)),
        tell=lambda notice: recorder.event(notice.name, notice.severity, notice.text, notice.details),
        restart=restart,
    )
    return UpdatesOn(updates, recorder)
