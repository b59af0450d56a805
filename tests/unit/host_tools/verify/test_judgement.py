"""From measures to a verdict."""

import dataclasses
import math

import pytest

from host_tools.errors import InputError
from host_tools.verify.judgement import judge
from host_tools.verify.verification_report import (
    Agreement,
    Budget,
    Execution,
    OperatorParity,
    OutputAgreement,
    Parity,
    Quality,
    Simulation,
    worst,
)


def agreement(*, same: float | None = 1.0, sqnr: float | None = 30.0, nonfinite: int = 0) -> Agreement:
    return Agreement(
        sample_count=100,
        sample_origin="test",
        same_top_class=same,
        sqnr_db=sqnr,
        max_absolute=0.1,
        mean_absolute=0.01,
        nonfinite_count=nonfinite,
    )


def execution(*unplanned: str) -> Execution:
    return Execution(
        source="test",
        stand_in=False,
        ops=(),
        integer_ops=5,
        float_ops=len(unplanned),
        unplanned_float_ops=unplanned,
    )


def quality(float_value: float, payload_value: float, error: float | None) -> Quality:
    return Quality(
        metric="top-1",
        float_value=float_value,
        payload_value=payload_value,
        sample_count=20,
        standard_error=error,
    )


def verdict_of(
    seen: Agreement, *qualities: Quality, ran: Execution | None = None, parity: Parity | None = None
) -> str:
    return judge(Budget(), agreement=seen, quality=qualities, execution=ran or execution(), parity=parity)[0]


def test_a_good_payload_passes_without_a_word() -> None:
    assert judge(Budget(), agreement=agreement(), quality=(), execution=execution(), parity=None) == (
        "pass",
        (),
    )


def test_nan_is_a_verdict_of_its_own_and_beats_all_others() -> None:
    assert verdict_of(agreement(same=0.1, nonfinite=1)) == "nonfinite"


@pytest.mark.parametrize(
    ("same", "verdict"), [(0.89, "fail"), (0.905, "marginal"), (0.95, "pass"), (None, "pass")]
)
def test_agreement_is_held_against_the_budget(same: float | None, verdict: str) -> None:
    assert verdict_of(agreement(same=same)) == verdict


@pytest.mark.parametrize(
    ("sqnr", "verdict"),
    [(7.0, "fail"), (8.5, "marginal"), (9.0, "pass"), (None, "pass"), (-200.0, "fail")],
)
def test_sqnr_is_held_against_the_budget(sqnr: float | None, verdict: str) -> None:
    assert verdict_of(agreement(sqnr=sqnr)) == verdict


@pytest.mark.parametrize(
    ("lost", "error", "verdict"),
    [
        (0.0, 0.0, "pass"),
        (-0.1, 0.05, "pass"),
        (0.028, 0.0, "marginal"),
        (0.05, 0.05, "marginal"),
        (0.2, 0.05, "fail"),
        (0.05, None, "fail"),
    ],
)
def test_a_loss_that_chance_explains_is_marginal(lost: float, error: float | None, verdict: str) -> None:
    assert verdict_of(agreement(), quality(0.9, 0.9 - lost, error)) == verdict


def test_float_where_integers_were_planned_is_named() -> None:
    verdict, reasons = judge(
        Budget(), agreement=agreement(), quality=(), execution=execution("Conv 'stem'"), parity=None
    )
    assert verdict == "marginal"
    assert "Conv 'stem'" in reasons[0]


def test_floats_of_a_stand_in_say_nothing_of_the_target() -> None:
    stand_in = dataclasses.replace(execution("Conv 'stem'"), stand_in=True)
    assert verdict_of(agreement(), ran=stand_in) == "pass"


def parity(**changed: object) -> Parity:
    """Return a network that magnifies single codes, on an engine that loses nothing by it."""
    kept = Parity(
        reference="plan",
        sample_count=32,
        max_lsb=34,
        mean_lsb=1.0,
        equal_share=0.6,
        within_one_share=0.7,
        engine_sqnr_db=16.1,
        plan_sqnr_db=16.3,
        apart_sqnr_db=22.1,
        lost_db=0.2,
        doubt_db=0.8,
        within_tolerance=False,
        operator_count=20,
        operators=(),
    )
    return dataclasses.replace(kept, **changed)


def operator(*, is_off: bool) -> OperatorParity:
    return OperatorParity(
        value="c1",
        operator="Conv",
        code_count=4096,
        max_lsb=1,
        equal_share=0.5,
        within_one_share=1.0,
        is_off=is_off,
    )


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "pass"),
        ({"max_lsb": 255}, "pass"),
        ({"operator_count": 0}, "marginal"),
        ({"operator_count": 0, "within_tolerance": True}, "pass"),
        ({"operator_count": 0, "within_one_share": None, "max_lsb": None, "within_tolerance": True}, "pass"),
        ({"operators": (operator(is_off=False),)}, "pass"),
        ({"operators": (operator(is_off=True),)}, "fail"),
        ({"lost_db": 8.0, "doubt_db": 1.0}, "fail"),
        ({"lost_db": 3.5, "doubt_db": 1.0}, "marginal"),
        ({"lost_db": 2.9, "doubt_db": 1.0}, "pass"),
        ({"lost_db": 0.6, "doubt_db": 0.1}, "marginal"),
        ({"lost_db": 0.4, "doubt_db": 0.01}, "pass"),
        ({"lost_db": -9.0, "doubt_db": 1.0}, "pass"),
        ({"lost_db": 8.0, "doubt_db": 1.0, "sample_count": 7}, "pass"),
        ({"lost_db": 8.0, "doubt_db": None, "sample_count": 1}, "pass"),
    ],
)
def test_parity_is_judged_by_operators_and_by_what_is_lost_not_by_the_largest_code(
    changed: dict[str, object], verdict: str
) -> None:
    assert verdict_of(agreement(), parity=parity(**changed)) == verdict


def test_an_operator_that_is_off_is_named() -> None:
    _, reasons = judge(
        Budget(),
        agreement=agreement(),
        quality=(),
        execution=execution(),
        parity=parity(operators=(operator(is_off=True),)),
    )
    assert "Conv that writes 'c1'" in reasons[0]


def part(name: str, sqnr: float | None, *, has_signal: bool = True, largest: float = 0.1) -> OutputAgreement:
    return OutputAgreement(
        name=name, sqnr_db=sqnr, has_signal=has_signal, max_absolute=largest, mean_absolute=0.01
    )


def test_the_worst_output_is_named() -> None:
    seen = dataclasses.replace(
        agreement(sqnr=3.0), outputs=(part("y[:, 0:4]", 40.0), part("y[:, 4:84]", 3.0), part("z", None))
    )
    verdict, reasons = judge(Budget(), agreement=seen, quality=(), execution=execution(), parity=None)
    assert verdict == "fail"
    assert reasons == ("output SQNR in dB of 'y[:, 4:84]': 3, limit 8.",)


@pytest.mark.parametrize(("largest", "verdict"), [(0.0, "pass"), (5.0, "marginal")])
def test_noise_on_an_output_of_zeros_is_told(largest: float, verdict: str) -> None:
    silent = part("z", None if largest == 0.0 else -200.0, has_signal=False, largest=largest)
    seen = dataclasses.replace(agreement(), outputs=(part("y", 30.0), silent))
    assert verdict_of(seen) == verdict


def test_the_worst_of_nothing_is_a_pass() -> None:
    assert worst(()) == "pass"
    assert worst(("pass", "nonfinite", "fail")) == "nonfinite"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["min_agreement", "max_quality_drop", "min_sqnr_db", "margin"])
def test_a_limit_that_is_no_number_is_refused(name: str, value: float) -> None:
    """Nothing is below NaN: every payload would pass."""
    with pytest.raises(InputError, match=f"budget: {name}"):
        Budget(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_agreement", 7.0), ("min_agreement", -0.1), ("max_quality_drop", -0.01), ("margin", 1.5)],
)
def test_a_limit_outside_its_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"budget: {name}: expected .* from 0"):
        Budget(**{name: value})


def simulated(*, sqnr: float | None, same: float | None, engine: float | None = 20.0) -> Simulation:
    return Simulation(sample_count=16, sqnr_db=sqnr, same_top_class=same, engine_sqnr_db=engine)


@pytest.mark.parametrize("seen", [agreement(same=0.5), agreement(sqnr=3.0)], ids=["classes", "noise"])
def test_what_only_the_engine_that_stands_in_fails_is_marginal(seen: Agreement) -> None:
    verdict, reasons = judge(
        Budget(),
        agreement=seen,
        quality=(quality(0.9, 0.5, 0.01),),
        execution=execution(),
        parity=None,
        simulation=simulated(sqnr=30.0, same=1.0),
    )
    assert verdict == "marginal"
    assert all(
        "16 samples in the target's own arithmetic are within the limits" in reason for reason in reasons
    )
    assert len(reasons) == 2


def test_what_only_the_targets_own_arithmetic_fails_is_a_failure() -> None:
    verdict, reasons = judge(
        Budget(),
        agreement=agreement(),
        quality=(),
        execution=execution(),
        parity=None,
        simulation=simulated(sqnr=3.0, same=1.0),
    )
    assert verdict == "fail"
    assert reasons == (
        f"output SQNR in dB of 16 samples in the target's own arithmetic: 3, limit {Budget().min_sqnr_db:.4g}.",
    )


@pytest.mark.parametrize("same", [0.5, None])
def test_a_failure_that_both_share_or_that_few_samples_cannot_deny_stays_one(same: float | None) -> None:
    verdict, _ = judge(
        Budget(),
        agreement=agreement(same=0.5, sqnr=3.0),
        quality=(),
        execution=execution(),
        parity=None,
        simulation=simulated(sqnr=3.0 if same is None else 30.0, same=same),
    )
    assert verdict == "fail"


def test_outputs_that_do_not_differ_in_the_targets_own_arithmetic_are_within_every_limit() -> None:
    verdict, _ = judge(
        Budget(),
        agreement=agreement(sqnr=3.0),
        quality=(),
        execution=execution(),
        parity=None,
        simulation=simulated(sqnr=None, same=None),
    )
    assert verdict == "marginal"


@pytest.mark.parametrize("engine", [None, 31.0])
def test_an_engine_that_computes_as_the_target_does_is_believed(engine: float | None) -> None:
    verdict, _ = judge(
        Budget(),
        agreement=agreement(same=0.5),
        quality=(),
        execution=execution(),
        parity=None,
        simulation=simulated(sqnr=30.0, same=1.0, engine=engine),
    )
    assert verdict == "fail"
