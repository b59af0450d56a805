from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from device_agent.core import OVER, Core, Timing
from device_agent.effects import (
    ApplyHeat,
    CommandDone,
    Effect,
    Exit,
    Flush,
    LeaveInference,
    LoadEngine,
    ReadHeat,
    RecordBirth,
    RecordEvent,
    RecordHealth,
    ReportLoss,
    RunSelfTest,
    Sample,
    StartInference,
    StopWorker,
    VerifyArtifact,
)
from device_agent.heat.policy import HeatPolicy, HeatRules, HeatStep
from device_agent.occurrences import (
    ArtifactVerified,
    EngineLoaded,
    Failed,
    Flushed,
    HeatRead,
    InferenceLeft,
    LinkDown,
    LinkUp,
    ModelFailed,
    ModelOrdered,
    ModelSwitched,
    Occurrence,
    RestartRequested,
    SelfTestPassed,
    SourceEnded,
    Started,
    StopRequested,
    StorageChanged,
    SwitchFailed,
    Tick,
    Trouble,
    WindowClosed,
    WorkerStopped,
)

VERIFIED = ArtifactVerified(digest="sha256:0", name="m", version="1", target="t", verdict="pass")
LOADED = EngineLoaded(engine="null", engine_version="1", seconds=0.1)
TESTED = SelfTestPassed(samples=2, largest_lsb=1.0, smallest_equal_share=1.0)
UNTESTED = SelfTestPassed(samples=0, largest_lsb=0.0, smallest_equal_share=1.0)
STEPS: tuple[Occurrence, ...] = (Started(0.0), VERIFIED, LOADED, TESTED)


def new_core() -> Core:
    return Core(Timing(window_seconds=10.0, drain_timeout_seconds=5.0))


def run(core: Core, *occurrences: Occurrence) -> list[Effect]:
    return [effect for occurrence in occurrences for effect in core.handle(occurrence)]


def running(*, connected: bool = True) -> Core:
    core = new_core()
    run(core, *([LinkUp()] if connected else []), *STEPS)
    assert core.phase == "running"
    return core


def events(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, RecordEvent)]


def test_the_way_up_is_verify_load_test_and_only_then_infer() -> None:
    core = new_core()
    seen = [effect for effect in run(core, *STEPS) if not isinstance(effect, RecordEvent | RecordHealth)]
    assert seen == [VerifyArtifact(), LoadEngine(), RunSelfTest(), RecordBirth(), StartInference()]


def test_events_of_the_way_up() -> None:
    assert events(run(new_core(), *STEPS)) == ["artifact_verified", "engine_loaded", "self_test_passed"]


def test_an_artifact_without_golden_samples_says_so_and_runs() -> None:
    effects = run(new_core(), *STEPS[:3], UNTESTED)
    (event,) = [
        effect for effect in effects if isinstance(effect, RecordEvent) and "self_test" in effect.name
    ]
    assert (event.name, event.severity) == ("self_test_absent", "warning")
    assert StartInference() in effects


def test_an_unverified_artifact_is_a_warning() -> None:
    (event,) = [
        effect
        for effect in run(
            new_core(),
            Started(0.0),
            ArtifactVerified(digest="d", name="m", version="1", target="t", verdict="unverified"),
        )
        if isinstance(effect, RecordEvent)
    ]
    assert event.severity == "warning"


def test_every_connection_gets_birth_and_health() -> None:
    core = running(connected=False)
    for _ in range(3):
        effects = run(core, LinkUp())
        assert RecordBirth() in effects
        assert RecordHealth("up", "") in effects
        assert ReportLoss() in effects
        run(core, LinkDown("gone"))


def test_coming_back_after_an_outage_is_an_event_with_the_reason_and_a_failed_first_attempt_is_not() -> None:
    core = running(connected=False)
    run(core, LinkDown("refused"))
    assert events(run(core, LinkUp())) == []
    run(core, LinkDown("reset by peer"), LinkDown("refused"))
    (event,) = [effect for effect in run(core, LinkUp()) if isinstance(effect, RecordEvent)]
    assert event.name == "reconnected"
    assert "reset by peer" in event.text


def test_windows_are_closed_at_their_interval_and_only_while_running() -> None:
    core = new_core()
    assert run(core, Tick(100.0)) == []
    run(core, Started(100.0), VERIFIED, LOADED, TESTED)
    assert core.next_due_seconds == 110.0
    assert run(core, Tick(109.9)) == []
    assert run(core, Tick(110.0)) == [Sample(final=False)]
    assert core.next_due_seconds == 120.0
    run(core, LinkUp())
    assert run(core, Tick(125.0)) == [Sample(final=False), ReportLoss()]


def test_a_clock_that_goes_back_closes_no_window() -> None:
    core = running()
    run(core, Tick(10.0))
    assert run(core, Tick(3.0)) == []


def test_a_stop_drains_samples_the_last_window_and_says_goodbye_after_it_was_delivered() -> None:
    core = running()
    assert run(core, StopRequested("SIGTERM")) == [RecordHealth("draining", "SIGTERM"), StopWorker()]
    assert run(core, WorkerStopped()) == [Sample(final=True), ReportLoss(), Flush()]
    assert run(core, Flushed()) == [RecordHealth("down", "SIGTERM"), Flush()]
    assert run(core, Flushed()) == [Exit(code="ok", message="SIGTERM")]
    assert core.phase == "stopped"


def test_without_a_broker_nobody_waits_for_one() -> None:
    core = running(connected=False)
    run(core, StopRequested("SIGTERM"))
    assert run(core, WorkerStopped()) == [
        Sample(final=True),
        RecordHealth("down", "SIGTERM"),
        Exit(code="ok", message="SIGTERM"),
    ]


def test_a_broker_that_goes_away_while_draining_ends_the_waiting() -> None:
    core = running()
    run(core, StopRequested("SIGTERM"), WorkerStopped())
    assert run(core, LinkDown("gone")) == [
        RecordHealth("down", "SIGTERM"),
        Exit(code="ok", message="SIGTERM"),
    ]


@pytest.mark.parametrize("before", [[], [WorkerStopped()], [WorkerStopped(), Flushed()]])
def test_draining_ends_at_its_deadline_whatever_hangs(before: list[Occurrence]) -> None:
    core = running()
    said = run(core, StopRequested("SIGTERM"), *before)
    assert core.next_due_seconds == 5.0
    effects = run(core, Tick(5.0))
    assert effects[-1] == Exit(code="ok", message="SIGTERM")
    assert [effect for effect in said + effects if effect == RecordHealth("down", "SIGTERM")] != []


def test_the_time_to_drain_counts_from_the_stop_and_not_from_the_last_tick() -> None:
    core = running()
    core.tell_time(9.0)
    run(core, StopRequested("SIGTERM"))
    assert core.next_due_seconds == 14.0
    assert run(core, Tick(9.1)) == []
    assert run(core, WorkerStopped())[0] == Sample(final=True)


def test_a_second_stop_ends_at_once() -> None:
    core = running()
    run(core, StopRequested("SIGINT"))
    assert run(core, StopRequested("SIGINT")) == [
        RecordHealth("down", "SIGINT"),
        Exit(code="ok", message="SIGINT"),
    ]


@pytest.mark.parametrize("steps", range(4))
def test_a_failure_in_any_phase_is_an_event_and_the_exit_code(steps: int) -> None:
    core = new_core()
    run(core, *STEPS[: steps + 1])
    phase = core.phase
    effects = run(core, Failed(code="engine", message="it broke"))
    (event,) = [effect for effect in effects if isinstance(effect, RecordEvent)]
    assert (event.name, event.details["code"], event.details["phase"]) == ("agent_failed", "engine", phase)
    assert RecordHealth("draining", "engine: it broke") in effects
    assert run(core, WorkerStopped())[-1] == Exit(code="engine", message="it broke")
    assert core.phase == "failed"


def test_the_end_of_the_source_is_a_good_end() -> None:
    core = running(connected=False)
    run(core, SourceEnded("all 5 frames were inferred"))
    assert run(core, WorkerStopped())[-1] == Exit(code="ok", message="all 5 frames were inferred")


def test_late_reports_of_steps_do_not_bring_a_draining_agent_back() -> None:
    core = new_core()
    run(core, Started(0.0), StopRequested("SIGTERM"))
    assert run(core, VERIFIED, LOADED, TESTED, SourceEnded("x"), Failed(code="c", message="m")) == []
    assert core.phase == "draining"


def test_a_stop_before_the_start_is_a_stop() -> None:
    core = new_core()
    effects = run(core, StopRequested("SIGTERM"), Started(0.0), WorkerStopped())
    assert VerifyArtifact() not in effects
    assert effects[-1] == Exit(code="ok", message="SIGTERM")


def test_failing_inference_degrades_and_recovers_and_an_empty_window_says_nothing() -> None:
    core = running()
    failing = WindowClosed(inferences=0, errors=7, last_error="shape")
    effects = run(core, failing)
    assert events(effects) == ["inference_failing"]
    assert RecordHealth("degraded", "every inference fails: shape") in effects
    assert run(core, failing, WindowClosed(inferences=0, errors=0, last_error="")) == []
    effects = run(core, WindowClosed(inferences=3, errors=1, last_error="shape"))
    assert events(effects) == ["inference_recovered"]
    assert RecordHealth("up", "") in effects


def test_storage_trouble_degrades_and_recovers() -> None:
    core = running()
    effects = run(core, StorageChanged(code="spool_in_memory", message="disk full", on_disk=False))
    assert effects == [
        RecordEvent(name="spool_in_memory", severity="error", text="disk full"),
        RecordHealth("degraded", "disk full"),
    ]
    effects = run(core, StorageChanged(code="spool_on_disk", message="back", on_disk=True))
    assert effects == [
        RecordEvent(name="spool_on_disk", severity="info", text="back"),
        RecordHealth("up", ""),
    ]


def test_a_trouble_degrades_while_it_lasts_and_is_said_once() -> None:
    core = running()
    assert run(core, Trouble("link", "another client")) == [RecordHealth("degraded", "another client")]
    assert run(core, Trouble("link", "another client"), Trouble("refused messages", "")) == []
    assert run(core, Trouble("link", "")) == [RecordHealth("up", "")]
    assert run(core, Trouble("link", "")) == []


def test_a_trouble_before_running_or_after_it_is_not_said_at_once() -> None:
    core = new_core()
    assert run(core, Started(0.0), Trouble("link", "another client"))[1:] == [VerifyArtifact()]
    effects = run(core, *STEPS[1:])
    assert RecordHealth("degraded", "another client") in effects
    run(core, StopRequested("SIGTERM"))
    assert run(core, Trouble("link", "")) == []


class CoreMachine(RuleBasedStateMachine):
    """Anything may happen at any time; the promises of the module hold all the same."""

    def __init__(self) -> None:
        super().__init__()
        rules = HeatRules(
            steps=(HeatStep(celsius=70.0, measure="pause"),), hysteresis_celsius=5.0, hold_seconds=5.0
        )
        timing = Timing(window_seconds=10.0, drain_timeout_seconds=5.0, heat_seconds=2.0)
        self.core = Core(timing, HeatPolicy(rules))
        self.now = 0.0
        self.effects: list[Effect] = []
        self.tested = False
        self.stopping_since: float | None = None

    def happen(self, occurrence: Occurrence) -> None:
        phase_before = self.core.phase
        if phase_before == "self_test" and isinstance(occurrence, SelfTestPassed):
            self.tested = True
        produced = self.core.handle(occurrence)
        if phase_before in OVER:
            assert produced == ()
        self.effects += produced
        if StartInference() in produced:
            assert self.tested
        if any(isinstance(effect, ReadHeat | ApplyHeat) for effect in produced):
            assert phase_before == "running"
        if self.core.phase == "draining" and self.stopping_since is None:
            self.stopping_since = self.now

    @rule()
    def start(self) -> None:
        self.happen(Started(self.now))

    @rule(
        occurrence=st.sampled_from([VERIFIED, LOADED, TESTED, UNTESTED, WorkerStopped(), LinkUp(), Flushed()])
    )
    def report(self, occurrence: Occurrence) -> None:
        self.happen(occurrence)

    @rule()
    def everything_up_to_running(self) -> None:
        for occurrence in (Started(self.now), VERIFIED, LOADED, TESTED):
            self.happen(occurrence)

    @rule(reason=st.sampled_from(["refused", "reset"]))
    def link_down(self, reason: str) -> None:
        self.happen(LinkDown(reason))

    @rule()
    def fail(self) -> None:
        self.happen(Failed(code="engine", message="broken"))

    @rule()
    def stop(self) -> None:
        self.happen(StopRequested("SIGTERM"))

    @rule()
    def source_ends(self) -> None:
        self.happen(SourceEnded("no more frames"))

    @rule(inferences=st.integers(0, 2), errors=st.integers(0, 2))
    def window(self, inferences: int, errors: int) -> None:
        self.happen(WindowClosed(inferences=inferences, errors=errors, last_error="e"))

    @rule(celsius=st.sampled_from([None, 40.0, 69.0, 90.0]), reads=st.integers(1, 12))
    def heat(self, celsius: float | None, reads: int) -> None:
        for _ in range(reads):
            self.happen(HeatRead(celsius=celsius, why_absent="EIO"))

    @rule(failed=st.booleans())
    def switched(self, failed: bool) -> None:
        switched = ModelSwitched(digest="sha256:1", name="m", version="2", is_variant=True)
        self.happen(SwitchFailed("no such file") if failed else switched)

    @rule(on_disk=st.booleans())
    def storage(self, on_disk: bool) -> None:
        self.happen(
            StorageChanged(
                code="spool_on_disk" if on_disk else "spool_in_memory", message="m", on_disk=on_disk
            )
        )

    @rule(name=st.sampled_from(["link", "refused messages"]), text=st.sampled_from(["", "bad", "worse"]))
    def trouble(self, name: str, text: str) -> None:
        self.happen(Trouble(name, text))

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.9, 5.0, 11.0]))
    def time(self, seconds: float) -> None:
        self.now += seconds
        self.happen(Tick(self.now))

    @invariant()
    def there_is_at_most_one_goodbye_and_nothing_after_it_but_the_end(self) -> None:
        goodbyes = [
            at
            for at, effect in enumerate(self.effects)
            if isinstance(effect, RecordHealth) and effect.status == "down"
        ]
        assert len(goodbyes) <= 1
        if goodbyes:
            assert all(isinstance(effect, Flush | Exit) for effect in self.effects[goodbyes[0] + 1 :])

    @invariant()
    def the_end_comes_once_last_and_after_the_goodbye(self) -> None:
        ends = [at for at, effect in enumerate(self.effects) if isinstance(effect, Exit)]
        assert (self.core.phase in OVER) == (len(ends) == 1)
        if ends:
            assert ends == [len(self.effects) - 1]
            assert any(
                isinstance(effect, RecordHealth) and effect.status == "down" for effect in self.effects
            )

    @invariant()
    def steps_come_in_order_and_at_most_once(self) -> None:
        order = (VerifyArtifact, LoadEngine, RunSelfTest, StartInference)
        seen = [order.index(type(effect)) for effect in self.effects if isinstance(effect, order)]
        assert seen == list(range(len(seen)))

    @invariant()
    def the_worker_is_told_to_stop_once_and_starts_nothing_after(self) -> None:
        stops = [at for at, effect in enumerate(self.effects) if isinstance(effect, StopWorker)]
        assert len(stops) <= 1
        if stops:
            steps = (VerifyArtifact, LoadEngine, RunSelfTest, StartInference)
            assert not any(isinstance(effect, steps) for effect in self.effects[stops[0] :])

    @invariant()
    def draining_ends(self) -> None:
        if self.stopping_since is not None and self.now >= self.stopping_since + 5.0:
            self.happen(Tick(self.now))
            assert self.core.phase in OVER

    @invariant()
    def a_failure_that_counted_is_the_outcome(self) -> None:
        failed = any(
            isinstance(effect, RecordEvent) and effect.name == "agent_failed" for effect in self.effects
        )
        if self.core.phase in OVER:
            assert (self.core.phase == "failed") == failed


CoreMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
test_core_machine = CoreMachine.TestCase


# --- commands about the model ---

KEY = ("pause", "a1")


def without_events(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, RecordEvent)]


def test_a_pause_is_done_when_the_loop_has_been_left_and_a_resume_at_once() -> None:
    core = running()
    effects = run(core, ModelOrdered(KEY, "pause"))
    assert without_events(effects) == [RecordHealth("degraded", "paused by a command"), LeaveInference()]
    assert events(effects) == ["inference_paused"]
    assert run(core, InferenceLeft()) == [CommandDone(KEY)]
    assert run(core, ModelOrdered(KEY, "pause")) == [CommandDone(KEY, "", "it was so already")]
    effects = run(core, ModelOrdered(("resume", "a2"), "resume"))
    assert without_events(effects) == [
        RecordHealth("up", ""),
        StartInference(),
        CommandDone(("resume", "a2")),
    ]
    assert run(core, ModelOrdered(KEY, "resume")) == [CommandDone(KEY, "", "it was so already")]


def test_a_restarted_model_passes_its_self_test_before_it_runs() -> None:
    core = running()
    effects = run(core, ModelOrdered(KEY, "restart_model"))
    assert effects == [RecordHealth("degraded", "not running yet: loading"), LeaveInference(), LoadEngine()]
    assert run(core, InferenceLeft()) == []
    assert run(core, LOADED)[-1] == RunSelfTest()
    assert without_events(run(core, TESTED)) == [
        RecordBirth(),
        RecordHealth("up", ""),
        StartInference(),
        CommandDone(KEY),
    ]


def test_a_model_that_is_restarted_while_paused_stays_paused() -> None:
    core = running()
    run(core, ModelOrdered(KEY, "pause"), InferenceLeft())
    assert LeaveInference() not in run(core, ModelOrdered(KEY, "restart_model"))
    effects = run(core, LOADED, TESTED)
    assert StartInference() not in effects
    assert CommandDone(KEY) in effects


def test_a_restart_that_fails_ends_the_command_and_then_the_agent() -> None:
    core = running()
    run(core, ModelOrdered(KEY, "restart_model"))
    effects = run(core, Failed(code="engine", message="no memory"))
    assert CommandDone(KEY, "interrupted", "the agent ends: engine: no memory") in effects
    assert effects[-1] == StopWorker()


def test_commands_about_the_model_need_one_that_runs() -> None:
    for core in (new_core(), running()):
        if core.phase == "running":
            run(core, StopRequested("SIGTERM"))
        (done,) = run(core, ModelOrdered(KEY, "pause"))
        assert isinstance(done, CommandDone)
        assert done.code == "not_running"


# --- heat ---


def hot_core() -> Core:
    rules = HeatRules(
        steps=(HeatStep(celsius=70.0, measure="slow"), HeatStep(celsius=80.0, measure="pause")),
        hysteresis_celsius=5.0,
        hold_seconds=10.0,
    )
    core = Core(Timing(window_seconds=10.0, drain_timeout_seconds=5.0, heat_seconds=2.0), HeatPolicy(rules))
    run(core, LinkUp(), *STEPS)
    return core


def heated(core: Core, *temperatures: float | None, start: float = 0.0) -> list[Effect]:
    effects: list[Effect] = []
    for number, celsius in enumerate(temperatures):
        due = run(core, Tick(start + 2.0 * (number + 1)))
        assert ReadHeat() in due
        effects += run(core, HeatRead(celsius=celsius, why_absent="EIO"))
    return effects


def test_heat_is_acted_on_and_lifted_with_an_event_each_way() -> None:
    core = hot_core()
    effects = heated(core, 85.0, 85.0, 85.0)
    assert [effect for effect in effects if isinstance(effect, ApplyHeat)] == [ApplyHeat(("slow", "pause"))]
    assert events(effects) == ["heat_measures_taken"]
    assert health(effects)[-1].status == "degraded"
    effects = heated(core, *[40.0] * 20, start=6.0)
    applied = [effect for effect in effects if isinstance(effect, ApplyHeat)]
    assert applied == [ApplyHeat(("slow",)), ApplyHeat(())]
    assert events(effects) == ["heat_measures_lifted"] * 2
    assert health(effects)[-1].status == "up"


def test_a_temperature_that_is_away_degrades_health_until_it_is_back() -> None:
    core = hot_core()
    effects = heated(core, *[None] * 12)
    assert events(effects) == ["heat_unknown"]
    assert "EIO" in health(effects)[-1].reason
    effects = heated(core, 50.0, start=24.0)
    assert events(effects) == ["heat_known"]
    assert health(effects)[-1].status == "up"


def test_another_model_is_told_and_one_that_cannot_be_used_degrades_health() -> None:
    core = hot_core()
    effects = run(core, SwitchFailed("no such file"))
    assert events(effects) == ["model_switch_failed"]
    assert health(effects)[-1].reason == "no such file"
    effects = run(core, ModelSwitched(digest="sha256:1", name="m", version="2", is_variant=True))
    assert events(effects) == ["model_switched"]
    assert RecordBirth() in effects
    assert health(effects)[-1].status == "up"


def test_heat_is_not_read_once_the_end_has_begun_nor_where_nothing_was_declared() -> None:
    core = hot_core()
    run(core, StopRequested("end"))
    assert ReadHeat() not in run(core, Tick(2.0))
    assert run(core, HeatRead(celsius=100.0)) == []
    assert ReadHeat() not in run(running(), Tick(2.0), Tick(4.0))
    assert run(running(), HeatRead(celsius=100.0)) == []


def health(effects: list[Effect]) -> list[RecordHealth]:
    return [effect for effect in effects if isinstance(effect, RecordHealth)]


def test_a_restart_drains_and_says_goodbye_and_a_stop_meanwhile_is_an_end() -> None:
    core = running(connected=False)
    assert run(core, RestartRequested("update")) == [RecordHealth("draining", "update"), StopWorker()]
    assert run(core, RestartRequested("again")) == []
    assert run(core, WorkerStopped())[-1] == Exit(code="restart", message="update")
    core = running(connected=False)
    run(core, RestartRequested("update"))
    assert run(core, StopRequested("SIGTERM"))[-1] == Exit(code="ok", message="update")


# --- beside other models ---

BROKEN = ModelFailed(code="device", message="no camera")


def core_beside_others() -> Core:
    return Core(
        Timing(window_seconds=10.0, drain_timeout_seconds=5.0, retry_min_seconds=2.0, retry_max_seconds=8.0)
    )


def test_the_main_model_fails_alone_and_is_begun_again_after_growing_pauses() -> None:
    core = core_beside_others()
    run(core, LinkUp(), Started(0.0))
    for since, pause in ((0.0, 2.0), (2.0, 4.0), (6.0, 8.0)):
        effects = run(core, BROKEN)
        assert events(effects) == ["model_failed"]
        assert health(effects)[-1] == RecordHealth("degraded", "model main: device: no camera")
        assert core.phase == "waiting"
        assert VerifyArtifact() not in run(core, Tick(since + pause - 0.1))
        assert VerifyArtifact() in run(core, Tick(since + pause))
    assert run(core, VERIFIED, LOADED, TESTED)[-1] == StartInference()
    assert core.phase == "running"
    assert health(run(core, LinkUp()))[-1] == RecordHealth("up", "")


def test_while_the_main_model_waits_the_others_are_sampled_and_a_stop_is_an_end() -> None:
    core = core_beside_others()
    run(core, Started(0.0), Tick(1.0), BROKEN)
    assert Sample(final=False) in run(core, Tick(11.0))
    run(core, BROKEN)
    assert run(core, ModelOrdered(KEY, "pause")) == [
        CommandDone(KEY, "not_running", "the agent is not running: waiting")
    ]
    assert VerifyArtifact() in run(core, ModelOrdered(KEY, "restart_model"))
    assert CommandDone(KEY, "model_failed", "no camera") in run(core, BROKEN)
    assert StopWorker() in run(core, StopRequested("SIGTERM"))
    assert run(core, BROKEN) == []
    assert isinstance(run(core, WorkerStopped())[-1], Exit)
    assert core.phase == "stopped"


def test_a_fault_of_the_agent_itself_ends_it_also_beside_others() -> None:
    core = core_beside_others()
    run(core, *STEPS)
    assert "agent_failed" in events(run(core, Failed(code="unexpected", message="ours")))
    assert core.phase == "draining"
