"""The whole agent without its threads and sockets, under random faults: its state machine, heat, updates, the spool on a disk, a
model beside the main one, and a split. Each seed is one schedule of kills, outages, failing disks, engines and sensors, stops,
commands and updates; it ends with quiet weather, in which everything must come to its end.

What is played here is the worker (what a step gives), the broker (what it has), the thermometer and the update's own
surroundings (`update_device`); the rest is the agent's own code.
"""

from __future__ import annotations

import itertools
import json
import random
import tempfile
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from update_device import Device as UpdatingDevice
from update_device import delivered

from device_agent import effects as do
from device_agent import occurrences as was
from device_agent.beside.further import FurtherModel
from device_agent.contract.errors import EngineError, StorageError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.topics import DeviceTopics
from device_agent.core import OVER, Core, Timing
from device_agent.engines.null import NullEngine
from device_agent.heat.policy import HeatPolicy, HeatRules, HeatStep
from device_agent.inference import Meter
from device_agent.model_runner import Running
from device_agent.orders import Orders
from device_agent.refused_frames import RefusedFrames
from device_agent.split import Assignment, Side, Split
from device_agent.telemetry import store
from device_agent.telemetry.recorder import Recorder
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import Stamper
from device_agent.update import occurrences as update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEDULES = 1_000
BLOCKS = 8
STEPS = 90
MAX_ROWS = 30
RULES = HeatRules(
    steps=(HeatStep(celsius=70.0, measure="slow"), HeatStep(celsius=80.0, measure="pause")),
    hysteresis_celsius=5.0,
    hold_seconds=5.0,
)
TIMING = Timing(
    window_seconds=10.0,
    drain_timeout_seconds=5.0,
    heat_seconds=2.0,
    policy_seconds=2.0,
    retry_min_seconds=1.0,
    retry_max_seconds=60.0,
)
FAULT = was.Failed(code="engine", message="broken")
IN_ORDER = (do.VerifyArtifact, do.LoadEngine, do.RunSelfTest)


class PlayedRunner:
    """A `ModelRunner` whose worker is played: it remembers what it was told to do."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.told: list[str] = []
        self.sides = (Running(variant=None, archive=None, engine=None, meter=Meter(sketch_every_frames=0)),)
        self.refused_frames = self.dropped_frames = 0
        self.refusals = RefusedFrames()
        self.has_source = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: self.told.append(name)


class Gate:
    """The model beside the main one, whose worker says anything that a worker can say."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        config: Any = agent.config
        self.model = FurtherModel("gate", config, inbox=agent.inbox, recorder=agent.recorder, door=None)  # type: ignore[arg-type]
        self.told = self.model.runner.told  # type: ignore[attr-defined]
        self.is_tested = False

    def answer(self) -> None:
        """Answer what was asked first."""
        if not self.told:
            return
        asked = self.told.pop(0)
        lucky = not self.agent.bad_luck(2)
        answers: dict[str, was.Occurrence] = {
            "verify": was.ArtifactVerified(
                digest="sha256:9", name="g", version="1", target="t", verdict="pass"
            ),
            "load": was.EngineLoaded(engine="null", engine_version="1", seconds=0.1),
            "test": was.SelfTestPassed(samples=1, largest_lsb=0.0, smallest_equal_share=1.0),
            "leave": was.InferenceLeft(),
            "stop": was.WorkerStopped(),
        }
        if asked == "infer":
            assert self.is_tested, "the model beside infers what was tested"
            return
        if asked == "load":
            self.is_tested = False
        if asked in answers and (lucky or asked in ("leave", "stop")):
            self.is_tested = self.is_tested or asked == "test"
            self.handle(answers[asked])
        elif asked in ("verify", "load", "test"):
            self.handle(FAULT)

    def handle(self, occurrence: was.Occurrence) -> None:
        self.model.handle(occurrence, self.agent.now)


class Agent:
    """A device: a disk that survives, and a process that does not."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.weather = 0.05
        self.folder = folder
        self.config = _Config()
        self.has_gate, self.has_split, self.rules_are_declared = seed % 3 == 0, seed % 4 == 0, seed % 5 == 0
        self.disk_fails = seed % 2 == 0
        self.disk_is_bad = self.sensor_is_broken = self.broker_is_away = False
        self.now, self.celsius = 0.0, 40.0
        self.broker: Counter[bytes] = Counter()
        self.safe: set[bytes] = set()  # on the disk, as far as the agent knows
        self.unheard = 0  # messages that the broker has, and the agent does not know it
        self.runs = itertools.count()
        self.updates = UpdatingDevice(seed)
        self.updates_begun = count_begins(self.updates)
        self.ended_commands: Counter[tuple[str, str]] = Counter()
        self.exits: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.begin()

    def bad_luck(self, factor: float = 1.0) -> bool:
        return self.chance.random() < self.weather * factor

    # --- the process ---

    def begin(self) -> None:
        run = next(self.runs)
        self.inbox: Any = None
        self.connected = self.said_goodbye = self.wants_flush = self.wants_restart = False
        self.exit: do.Exit | None = None
        self.jobs: list[do.Effect] = []
        self.tested = self.infers = False
        self.command: tuple[str, str] | None = None
        self.measures: tuple[str, ...] = ()
        self.on_the_way: list[store.SpooledMessage] = []
        self.unsafe: list[bytes] = []
        self.spool = self.open_spool()
        stampers = [
            Stamper(
                boot_id=f"run-{run}{suffix}",
                wall_seconds=lambda: self.chance.choice([5.0, 1.8e9, 2.5e9]),
                monotonic_seconds=lambda: self.now,
                synchronized=lambda: self.chance.random() < 0.5,
            )
            for suffix in ("", "-local")
        ]
        self.recorder = Recorder(
            spool=self.spool,
            stamper=stampers[0],
            topics=DeviceTopics("a"),
            payload_max_bytes=16_384,
            local_stamper=stampers[1],
        )
        self.orders = Orders(self.command_ended)
        self.gate = Gate(self) if self.has_gate else None
        self.gate_begun = False
        self.core = Core(TIMING, None if self.rules_are_declared else HeatPolicy(RULES))
        self.happen(was.Started(self.now))

    def open_spool(self) -> Spool:
        limits = SpoolLimits(max_bytes=1 << 20, max_rows=MAX_ROWS, memory_max_bytes=1 << 16, batch_rows=8)
        spool = Spool(self.folder / "spool.db", limits)
        append, commit = spool.append, spool.commit

        def appended(kind: store.Kind, topic: str, payload: bytes, *, retain: bool = False) -> None:
            assert not self.said_goodbye or topic.endswith("/health"), "nothing is recorded after the goodbye"
            if kind is not store.Kind.STATE:
                self.unsafe.append(payload)
            append(kind, topic, payload, retain=retain)

        def committed() -> None:
            commit()
            assert spool.rows <= MAX_ROWS + 20, "bounded; states and what is on its way are spared"
            if spool.on_disk:
                self.safe.update(self.unsafe)
                self.unsafe.clear()

        spool.append, spool.commit = appended, committed  # type: ignore[method-assign]
        return spool

    def happen(self, occurrence: was.Occurrence) -> None:
        was_over = self.core.phase in OVER
        self.core.tell_time(self.now)
        produced = self.core.handle(occurrence)
        assert not was_over or not produced
        for effect in produced:
            self.carry_out(effect)

    def carry_out(self, effect: do.Effect) -> None:  # noqa: PLR0912  one case an effect
        assert self.exit is None, "the end comes last"
        match effect:
            case do.VerifyArtifact() | do.LoadEngine() | do.RunSelfTest():
                self.tested = self.infers = False
                self.jobs.append(effect)
            case do.StartInference():
                assert self.tested, "nothing is inferred before it was tested"
                assert self.artifact in self.updates.tested
                self.infers = True
                self.split = self.new_split()
            case do.LeaveInference():
                self.infers = False
                self.jobs.append(effect)
            case do.StopWorker():
                self.infers = False
                self.jobs = [effect]
                if self.gate is not None:
                    self.gate.told.clear()
                    self.gate.model.stop()
            case do.CommandDone(key, code, reason):
                self.orders.done(key, MAIN_MODEL, code=code, reason=reason)
            case do.Sample():
                self.sample()
            case do.ReadHeat():
                self.read_heat()
            case do.ApplyHeat(measures):
                self.measures = measures
                self.seen.update(measures)
            case do.RecordBirth():
                self.recorder.birth(engine=None, model=None, host={})
            case do.RecordHealth(status, reason):
                assert not self.said_goodbye
                self.recorder.health(status, reason)
                self.said_goodbye = status == "down"
            case do.RecordEvent():
                self.seen[effect.name] += 1
                self.recorder.event(effect.name, effect.severity, effect.text, effect.details)
            case do.ReportLoss():
                self.seen["telemetry_lost"] += self.spool.unreported_loss.total
                self.recorder.loss()
            case do.Flush():
                self.wants_flush = True
            case do.Exit():
                assert self.said_goodbye
                self.exit = effect

    @property
    def artifact(self) -> str:
        """Digest of what this process is to run."""
        runs = self.updates.runs.get(MAIN_MODEL)
        return delivered().digest if runs is None else runs.digest

    def sample(self) -> None:
        for kind, topic in ((store.Kind.MEASUREMENT, "m/system"), (store.Kind.RESULT, "o/inference")):
            envelope = self.recorder.next_envelope()
            body = json.dumps({"boot_id": envelope.boot_id, "seq": envelope.seq}).encode()
            self.spool.append(kind, topic, body)
        failing = self.bad_luck(4)
        window = {"inferences": 0, "errors": 3} if failing else {"inferences": 9, "errors": 0}
        self.happen(was.WindowClosed(**window, last_error="broken" if failing else ""))
        self.spool.return_to_disk()
        self.notices()
        if self.gate is not None:
            self.gate.model.close_window(self.now, final=False)
        self.updating(partial(self.updates.say, update.Observed(**window, p95_seconds=0.01)))

    def notices(self) -> None:
        for notice in self.spool.notices():
            self.happen(
                was.StorageChanged(code=notice.code, message=notice.message, on_disk=self.spool.on_disk)
            )

    def read_heat(self) -> None:
        rise = 5.0 if "pause" in self.measures else 12.0 if "slow" in self.measures else 70.0
        rise = rise if self.weather else 10.0
        self.celsius += (25.0 + rise - self.celsius) * 0.2
        self.sensor_is_broken = self.bad_luck(1.0 if not self.sensor_is_broken else 19.4)
        self.happen(was.HeatRead(celsius=None if self.sensor_is_broken else self.celsius, why_absent="EIO"))

    # --- one thing after another ---

    def live(self) -> None:
        self.now += self.chance.choice([0.0, 0.5, 2.0, 2.0, 10.0])
        self.disk_is_bad = self.disk_fails and self.bad_luck(0.5 if not self.disk_is_bad else 10)
        if self.bad_luck(0.4):
            self.kill()
        elif self.bad_luck(0.4):
            self.happen(was.StopRequested("SIGTERM"))
        elif self.bad_luck(0.4):
            self.happen(was.SourceEnded("no more frames"))
        else:
            self.turn()
        self.restart_if_wanted()
        if self.exit is not None:
            self.end()

    def turn(self) -> None:
        """One turn of the loop, in which some of what is due is done."""
        if self.now >= self.core.next_due_seconds:
            self.happen(was.Tick(self.now))
        parts = [self.work, self.infer, self.link, self.give_command, self.update, self.beside]
        for part in self.chance.sample(parts, k=self.chance.randint(1, len(parts))):
            if self.exit is None:
                part()
        if self.exit is None and self.chance.random() < 0.5:
            self.spool.commit()
            self.notices()

    def work(self) -> None:
        """The worker ends a step, one way or another."""
        if not self.jobs:
            return
        job = self.jobs.pop(0)
        if isinstance(job, IN_ORDER) and self.bad_luck(2):
            self.fail()
            return
        match job:
            case do.VerifyArtifact():
                rules = RULES if self.rules_are_declared else None
                self.happen(
                    was.ArtifactVerified(
                        digest=self.artifact, name="m", version="1", target="t", verdict="pass", heat=rules
                    )
                )
            case do.LoadEngine():
                self.happen(was.EngineLoaded(engine="null", engine_version="1", seconds=0.1))
            case do.RunSelfTest():
                self.tested = True
                self.happen(was.SelfTestPassed(samples=1, largest_lsb=0.0, smallest_equal_share=1.0))
            case do.LeaveInference():
                self.happen(was.InferenceLeft())
            case do.StopWorker() if not self.bad_luck(2):  # else it hangs
                self.happen(was.WorkerStopped())

    def fail(self) -> None:
        """The main model fails: alone, where there is another."""
        self.infers = False
        self.jobs.clear()
        if self.core.phase in ("draining", *OVER):
            return
        self.updating(partial(self.updates.say, update.RunFailed(code=FAULT.code, message=FAULT.message)))
        if self.exit is None:
            alone = was.ModelFailed(code=FAULT.code, message=FAULT.message)
            self.happen(alone if self.gate is not None else FAULT)

    def infer(self) -> None:
        if not self.infers or self.split is None:
            return
        for _ in range(3):
            self.split_frame(f"f{self.chance.randrange(200)}")

    def new_split(self) -> Split | None:
        if not self.has_split:
            return None
        self.sides = tuple(Side(NullEngine(["x"], {"y": 4}, 0.0), Meter(), None) for _ in "ab")  # type: ignore[arg-type]
        self.side_of_frame: dict[str, Side] = {}
        self.b_is_gone, self.frames = False, 0
        return Split(
            *self.sides,
            assignment=Assignment(ratio=0.4, seed="1"),
            max_consecutive_errors=3,
            give_up_b=self.give_up_b,
        )

    def give_up_b(self, reason: str) -> None:
        assert not self.b_is_gone, "once"
        self.b_is_gone = True
        self.happen(was.Trouble("side b", f"side b: {reason}"))

    def split_frame(self, frame: str) -> None:
        if self.split is None or not self.infers:
            return
        side = self.split.side_of(frame)
        if self.b_is_gone:
            assert side is self.sides[0], "a takes the frames of a side that was given up"
        else:
            assert self.side_of_frame.setdefault(frame, side) is side, "the same frame, the same side"
        self.frames += 1
        failures = self.bad_luck(12 if side is self.sides[1] else 2)
        try:
            if failures:
                side.meter.failed("broken")
                self.split.failed(frame, EngineError("broken"))
            else:
                side.inferred(1_000)
        except EngineError:
            assert side is self.sides[0]
            self.fail()

    def link(self) -> None:
        """The broker comes, goes, takes and acknowledges."""
        if not self.connected:
            self.broker_is_away = self.bad_luck(4 if not self.broker_is_away else 18)
            if not self.broker_is_away:
                self.connected = True
                self.happen(was.LinkUp())
                self.spool.commit()
            return
        if self.bad_luck(2):
            self.connected = False
            self.spool.release()
            self.forget_what_is_on_the_way()
            self.happen(was.LinkDown("reset by peer"))
            return
        sent = self.spool.take(self.chance.randint(1, 20))
        self.on_the_way += sent
        self.broker.update(message.payload for message in sent if not self.bad_luck())
        for message in list(self.on_the_way):
            if not self.bad_luck(4):
                self.broker[message.payload] += 0 if self.broker[message.payload] else 1
                self.on_the_way.remove(message)
                self.spool.acknowledge(message.id)
        if self.wants_flush and not self.spool.is_dirty and not self.on_the_way and not self.spool.take(1):
            self.wants_flush = False
            self.happen(was.Flushed())

    def give_command(self) -> None:
        if self.command is not None or self.core.phase not in ("running", "waiting") or self.bad_luck(10):
            return
        if self.weather and self.chance.random() < 0.8:
            return
        operation: Any = (
            self.chance.choice(["pause", "resume", "restart_model"]) if self.weather else "resume"
        )
        self.command = (operation, f"c{self.chance.random()}")
        order = was.ModelOrdered(self.command, operation, self.chance.choice(["", MAIN_MODEL]))
        names = [MAIN_MODEL, *(["gate"] if self.gate is not None and order.model == "" else [])]
        self.orders.begin(order.key, names)
        if "gate" in names and self.gate is not None:
            orders = self.orders
            self.gate.model.order(
                order, lambda code, reason: orders.done(order.key, "gate", code=code, reason=reason)
            )
        self.happen(order)

    def command_ended(self, key: tuple[str, str], *, code: str, reason: str) -> None:
        assert key == self.command
        self.ended_commands[key] += 1
        assert self.ended_commands[key] == 1, "one end each"
        self.seen[f"{key[0]}: {code or 'successful'}"] += 1
        self.command = None

    def beside(self) -> None:
        if self.gate is None or self.core.phase not in ("running", "waiting", "draining"):
            return
        if not self.gate_begun and self.core.phase != "draining":
            self.gate_begun = True
            if self.gate.model.state == "waiting":  # as `Beside.turn` does it
                self.gate.model.begin()
        self.gate.model.turn(self.now)
        self.gate.answer()
        if self.gate.model.state == "running" and self.bad_luck():
            self.gate.told.clear()
            self.gate.handle(FAULT)

    # --- updates ---

    def update(self) -> None:
        self.updates.weather = self.weather
        self.updating(self.updates.live if self.weather else self.update_in_quiet)

    def update_in_quiet(self) -> None:
        device = self.updates
        device.now += 20.0
        device.say(update.Tick(device.moment()))
        device.say(update.Observed(inferences=10, errors=0, p95_seconds=0.01))
        device.answer()

    def updating(self, what: Callable[[], None]) -> None:
        """Let something happen to updates; where they begin anew, the agent is asked to, which it hears in its next turn."""
        if self.core.phase in ("draining", *OVER):
            return
        before = self.updates_begun()
        what()
        self.wants_restart = self.wants_restart or self.updates_begun() != before

    def restart_if_wanted(self) -> None:
        """Drain and begin anew, or lose the power meanwhile."""
        if not self.wants_restart or self.exit is not None:
            return
        if self.bad_luck(4):
            self.kill()
            return
        self.happen(was.RestartRequested("update"))
        for _ in range(40):
            if self.exit is not None:
                return
            self.now += 1.0
            self.happen(was.Tick(self.now))
            if self.exit is None:
                self.work()
        raise AssertionError("draining does not end")

    # --- ends ---

    def kill(self) -> None:
        """SIGKILL: what was not committed to the disk is gone."""
        self.forget_what_is_on_the_way()
        self.unheard += len(self.spool._acknowledged)
        self.spool._store.close()
        self.unsafe.clear()
        self.exits["kill"] += 1
        self.begin()

    def end(self) -> None:
        assert self.exit is not None
        assert self.command is None or self.gate is not None, "no command without an end"
        self.exits["restart" if self.wants_restart else self.exit.code] += 1
        lost = self.spool.close()
        if not lost:
            self.safe.update(self.unsafe)
        self.forget_what_is_on_the_way()
        self.begin()

    def forget_what_is_on_the_way(self) -> None:
        self.unheard += sum(message.payload in self.broker for message in self.on_the_way)
        self.on_the_way.clear()

    def quiet(self) -> None:
        """Good weather until everything has come to its end."""
        self.weather = 0.0
        self.disk_is_bad = False
        self.updates.serial += 1
        self.updates.wishes[MAIN_MODEL].release = type(delivered())(
            digest=f"sha256:{10**6 + self.updates.serial:064x}", name="m", version="9", counter=10**6
        )
        self.updates.weather = 0.0
        for _ in range(3_000):
            self.now += 2.0
            self.turn()
            self.restart_if_wanted()
            if self.exit is not None:
                self.end()
            if self.is_well():
                return
        raise AssertionError(f"not well: {self.core.phase}, {self.updates.disk}, {self.core._troubles}")

    def is_well(self) -> bool:
        wanted = self.updates.wishes[MAIN_MODEL].release
        return (
            self.core.phase == "running"
            and self.infers
            and not self.measures
            and not self.core._troubles
            and self.command is None
            and self.connected
            and self.spool.on_disk
            and (self.gate is None or (self.gate.model.state == "running" and not self.gate.model.trouble))
            and self.updates.disk.main.known_good == self.updates.disk.main.active == wanted
            and self.updates.runs[MAIN_MODEL] == wanted
        )

    def stop(self) -> None:
        """End in order, with a broker that takes everything."""
        self.happen(was.StopRequested("SIGTERM"))
        for _ in range(200):
            self.now += 0.01
            self.spool.commit()
            self.work()
            if self.exit is None:
                self.link()
            if self.exit is not None:
                break
        assert self.exit == do.Exit(code="ok", message="SIGTERM")
        assert self.spool.close() == 0
        assert self.spool.rows == 0, "everything was delivered"


class _Config:
    """What `FurtherModel` reads of a configuration."""

    def __init__(self) -> None:
        none = defaultdict(lambda: None)
        self.engine = _Section(retry_min_seconds=1.0, retry_max_seconds=60.0)
        self.source = _Section(rate_hz=0.0)
        self.results = _Section(mqtt=False, jsonl=none["jsonl"])
        self.split = _Section(path=none["split"])
        self.artifact = none["artifact"]


class _Section:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def count_begins(device: UpdatingDevice) -> Callable[[], int]:
    """Return how often the process of ``device`` has begun, from now on."""
    begin, count = device.begin, itertools.count()
    seen = [next(count)]

    def counted() -> None:
        seen[0] = next(count)
        begin()

    device.begin = counted  # type: ignore[method-assign]
    return lambda: seen[0]


@pytest.fixture
def playing(monkeypatch: pytest.MonkeyPatch) -> list[Agent]:
    """The agent whose disk fails when it is bad, and whose worker is played; the list has the one that is alive."""
    alive: list[Agent] = []
    write, prepare = store.Store.write, store.Store._prepare

    def require(one: store.Store) -> None:
        if alive and alive[0].disk_is_bad and one._where != "memory":
            raise StorageError("No space left on device")

    def guarded_write(one: store.Store, **rows: Any) -> None:
        require(one)
        write(one, **rows)

    def guarded_prepare(one: store.Store) -> None:
        require(one)
        prepare(one)

    monkeypatch.setattr(store.Store, "write", guarded_write)
    monkeypatch.setattr(store.Store, "_prepare", guarded_prepare)
    monkeypatch.setattr("device_agent.beside.further.ModelRunner", PlayedRunner)
    return alive


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what is synced thousands of times is no disk's matter here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_fault_schedules_of_the_whole_agent_keep_every_promise(
    block: int, playing: list[Agent], in_memory: Path
) -> None:
    exits: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in range(block * SCHEDULES // BLOCKS, (block + 1) * SCHEDULES // BLOCKS):
        folder = in_memory / str(seed)
        folder.mkdir()
        playing[:] = []
        agent = Agent(seed, folder)
        playing[:] = [agent]
        for _ in range(STEPS):
            agent.live()
        agent.quiet()
        agent.stop()
        lost = agent.spool.lost_total
        missing = len(agent.safe - set(agent.broker))
        assert missing <= lost.total, f"{seed}: what was on the disk is delivered or counted as lost"
        if not agent.disk_fails:
            # What the broker had, and the agent did not hear of, may have been counted as lost.
            assert lost.total <= missing + agent.unheard, seed
        exits += agent.exits
        seen += agent.seen
    assert {"ok", "engine", "kill"} <= set(exits), exits
    for name in (
        "slow", "pause", "heat_measures_lifted", "heat_unknown", "model_failed", "reconnected", "telemetry_lost",
        "spool_in_memory", "spool_on_disk", "pause: successful", "resume: successful", "restart_model: successful",
        "restart_model: interrupted",
    ):  # fmt: skip
        assert seen[name], f"the faults reach {name}: {seen}"
