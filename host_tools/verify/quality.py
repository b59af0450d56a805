"""Quality on labelled samples: top-1 and top-5, or a metric of the user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from host_tools.errors import InputError
from host_tools.user_code import WrongSpecError, load_function
from host_tools.verify.metrics import top_classes
from host_tools.verify.verification_report import Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[np.float64]]
    UserMetric = Callable[[Outputs, object], float]


class QualityMeter(Protocol):
    """Takes one sample of float and payload outputs at a time and ends in `Quality` values."""

    def add(self, reference: Outputs, found: Outputs, label: object) -> None:
        """Take one labelled sample."""
        ...

    def result(self) -> tuple[Quality, ...]:
        """Return the qualities over all samples taken."""
        ...


@dataclass(slots=True)
class TopClasses:
    """Share of samples whose label is the top class, and among the top five."""

    sample_count: int = 0
    float_hits: dict[int, int] = field(default_factory=lambda: {1: 0, 5: 0})
    payload_hits: dict[int, int] = field(default_factory=lambda: {1: 0, 5: 0})
    discordant: dict[int, int] = field(default_factory=lambda: {1: 0, 5: 0})

    def add(self, reference: Outputs, found: Outputs, label: object) -> None:
        """Take one sample; ``label`` is the class index; the first output holds the scores."""
        expected, got = (next(iter(outputs.values())) for outputs in (reference, found))
        self.sample_count += 1
        for depth in self.float_hits:
            in_float = label in top_classes(expected, depth)
            in_payload = label in top_classes(got, depth)
            self.float_hits[depth] += in_float
            self.payload_hits[depth] += in_payload
            self.discordant[depth] += in_float != in_payload

    def result(self) -> tuple[Quality, ...]:
        """Return top-1 and top-5, each with the standard error of the paired difference."""
        count = self.sample_count
        if not count:
            return ()
        return tuple(
            Quality(
                metric=f"top-{depth}",
                float_value=self.float_hits[depth] / count,
                payload_value=self.payload_hits[depth] / count,
                sample_count=count,
                standard_error=math.sqrt(self.discordant[depth]) / count,
            )
            for depth in self.float_hits
        )


@dataclass(slots=True)
class MeanOfMetric:
    """Mean over samples of the user's ``metric(outputs, label) -> float`` (higher is better)."""

    name: str
    metric: UserMetric
    sample_count: int = 0
    float_sum: float = 0.0
    payload_sum: float = 0.0

    def add(self, reference: Outputs, found: Outputs, label: object) -> None:
        """Take one sample.

        Raises:
            InputError: The metric raised, or did not return a finite number.
        """
        self.sample_count += 1
        self.float_sum += self._value(reference, label)
        self.payload_sum += self._value(found, label)

    def _value(self, outputs: Outputs, label: object) -> float:
        try:
            value = float(self.metric(outputs, label))
        except Exception as error:
            raise InputError(
                f"--metric {self.name}: raised {type(error).__name__}: {error}", hint="Mend the metric."
            ) from error
        if not math.isfinite(value):
            raise InputError(
                f"--metric {self.name}: expected a finite number, got {value}.", hint="Mend the metric."
            )
        return value

    def result(self) -> tuple[Quality, ...]:
        """Return the mean over samples."""
        if not self.sample_count:
            return ()
        return (
            Quality(
                metric=self.name,
                float_value=self.float_sum / self.sample_count,
                payload_value=self.payload_sum / self.sample_count,
                sample_count=self.sample_count,
                standard_error=None,
            ),
        )


def load_metric(spec: str) -> UserMetric:
    """Import ``module:function``.

    Raises:
        InputError: The text has no such form, the module cannot be imported, or it has no such function.
    """
    try:
        metric = load_function(spec)
    except WrongSpecError as error:
        raise InputError(f"--metric: {error}.", hint="For example --metric my_metrics:mean_iou.") from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"--metric {spec}: {type(error).__name__}: {error}.",
            hint="Run from the folder that holds the module, or set PYTHONPATH.",
        ) from error
    if not callable(metric):
        raise InputError(f"--metric {spec}: expected a function, got {type(metric).__name__}.")
    return cast("UserMetric", metric)


def new_meter(metric: str | None) -> QualityMeter:
    """Return the meter for ``--metric``; top-1 and top-5 when it was not given.

    Raises:
        InputError: See `load_metric`.
    """
    return TopClasses() if metric is None else MeanOfMetric(name=metric, metric=load_metric(metric))
