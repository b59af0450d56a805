"""`rounded`: the integers whose products with the inputs come closest to the wanted outputs.

For one output with weights w (real) and codes q, the mean squared error of the output is a quadratic form in q: with H the second moment
of the inputs and c that of output and inputs, q s H s q' - 2 s q c'. Its real minimum is known in closed form; the integers near it are
found in two passes: one after the other, each time moving what rounding lost to the weights that are still free, and then over and over,
each to its best value given all others, until none changes. Where the first pass is worse than rounding to nearest, as it can be where
codes end, the second starts from that; so the result is never worse than either.

Source: AdaRound's objective (M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020, equation 21);
the first pass is that of E. Frantar et al., "GPTQ", ICLR 2023, the second is plain coordinate descent. Both follow the gradient of the
quadratic form in closed form, where AdaRound relaxes the integers and descends stochastically.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.reconstruct.compensation import compensated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

_SWEEPS: Final = 6
_LEAST_CURVATURE: Final = 1e-9


def rounded(
    weights: Float64,
    scales: Float64,
    inputs: Float64,
    outputs: Float64,
    *,
    low: Float64 | int,
    high: Float64 | int,
    damping: float,
    largest_sum: int | None = None,
) -> Float64:
    """Return codes for the weights of one operator, in groups of outputs that read the same inputs.

    Args:
        weights: Real weights, shape (groups, outputs, inputs).
        scales: Of each output's weights, shape (groups, outputs), above 0.
        inputs: Second moments of the inputs about their means, shape (groups, inputs, inputs), positive semidefinite.
        outputs: Moments of wanted outputs and inputs about their means, shape (groups, outputs, inputs).
        low: Lowest code, zero point taken off; one for all or one an output, shape (groups, outputs); at most 0.
        high: Highest code, likewise; at least 0.
        damping: How much the weights themselves count, as a share of the inputs' mean second moment; more for fewer samples.
        largest_sum: Largest sum of absolute codes of one output that the accumulator holds; None: any.

    Returns:
        Whole float64, same shape as ``weights``, each in [low, high].
    """
    moments, wanted = _damped(weights, inputs, outputs, damping)
    best = np.linalg.solve(moments, wanted.swapaxes(1, 2)).swapaxes(1, 2)
    steps = scales[:, :, np.newaxis]
    low, high = np.broadcast_to(low, scales.shape), np.broadcast_to(high, scales.shape)
    nearest = np.clip(np.rint(weights / steps), low[:, :, np.newaxis], high[:, :, np.newaxis])
    codes = _better(_compensated(best / steps, moments, low, high), nearest, steps, moments, wanted)
    codes = _descended(codes, steps, moments, wanted, low, high)
    if largest_sum is None or np.abs(codes).sum(axis=2).max() <= largest_sum:
        return codes
    codes, nearest = (_within(start, steps, moments, wanted, largest_sum) for start in (codes, nearest))
    return _better(codes, nearest, steps, moments, wanted)


def fitted(weights: Float64, inputs: Float64, outputs: Float64, *, damping: float) -> Float64:
    """Return the real weights whose outputs are nearest to the wanted ones, shape (groups, outputs, inputs).

    Args:
        weights: As for `rounded`, and so are the others.
        inputs: See there.
        outputs: See there.
        damping: See there.
    """
    moments, wanted = _damped(weights, inputs, outputs, damping)
    real: Float64 = np.linalg.solve(moments, wanted.swapaxes(1, 2)).swapaxes(1, 2)
    return real


def errors(real: Float64, weights: Float64, inputs: Float64, outputs: Float64, *, damping: float) -> Float64:
    """Return what `rounded` makes small, for each output, shape (groups, outputs), up to a constant that no weights change.

    Args:
        real: What the codes stand for, shape (groups, outputs, inputs).
        weights: As for `rounded`, and so are the others.
        inputs: See there.
        outputs: See there.
        damping: See there.
    """
    moments, wanted = _damped(weights, inputs, outputs, damping)
    change = real - weights  # about the real weights, so that small differences are none of large numbers
    found: Float64 = (change * (change @ moments + 2.0 * (weights @ moments - wanted))).sum(axis=2)
    return found


def _damped(weights: Float64, inputs: Float64, outputs: Float64, damping: float) -> tuple[Float64, Float64]:
    """Return moments of the inputs, and of outputs and inputs, that also hold the weights where they were."""
    curvature = np.einsum("gkk->gk", inputs)
    ridge = damping * curvature.mean(axis=1) + _LEAST_CURVATURE * max(
        float(curvature.max()), _LEAST_CURVATURE
    )
    held = ridge[:, np.newaxis, np.newaxis]
    return inputs + held * np.eye(inputs.shape[1]), outputs + held * weights


def _better(codes: Float64, others: Float64, steps: Float64, moments: Float64, wanted: Float64) -> Float64:
    """Return, output by output, those codes that leave the smaller error."""
    real, middle = (codes - others) * steps, (codes + others) * steps / 2
    worse = (real * (middle @ moments - wanted)).sum(
        axis=2
    ) > 0.0  # half the difference of the two errors, without cancellation
    return np.where(worse[:, :, np.newaxis], others, codes)


def _compensated(best: Float64, moments: Float64, low: Float64, high: Float64) -> Float64:
    """Round one input after the other, the one that matters most first; the rest takes up what was lost."""
    order = np.argsort(-np.einsum("gkk->gk", moments), axis=1, kind="stable")
    back = np.argsort(order, axis=1)
    sorted_moments = np.take_along_axis(
        np.take_along_axis(moments, order[:, :, np.newaxis], axis=1), order[:, np.newaxis, :], axis=2
    )
    upper = np.linalg.cholesky(np.linalg.inv(sorted_moments)).swapaxes(1, 2)
    free = np.take_along_axis(best, order[:, np.newaxis, :], axis=2)
    codes = compensated(free, upper, lambda column, _: np.clip(np.rint(column), low, high))
    return np.take_along_axis(codes, back[:, np.newaxis, :], axis=2)


def _descended(
    codes: Float64, steps: Float64, moments: Float64, wanted: Float64, low: Float64, high: Float64
) -> Float64:
    """Set each code to its best given all others, until none changes."""
    gradient = (codes * steps) @ moments - wanted
    curvature = np.einsum("gkk->gk", moments)
    for _ in range(_SWEEPS):
        changed = False
        for index in range(codes.shape[2]):
            better = codes[:, :, index] - gradient[:, :, index] / (
                curvature[:, np.newaxis, index] * steps[:, :, 0]
            )
            change = np.clip(np.rint(better), low, high) - codes[:, :, index]
            groups, rows = np.nonzero(change)
            if not groups.size:
                continue
            changed = True
            codes[groups, rows, index] += change[groups, rows]
            gradient[groups, rows] += (change * steps[:, :, 0])[groups, rows][:, np.newaxis] * moments[
                groups, index
            ]
        if not changed:
            break
    return codes


def _within(codes: Float64, steps: Float64, moments: Float64, wanted: Float64, largest_sum: int) -> Float64:
    """Move codes towards zero, one step of the least harm at a time, until no output's absolute codes sum up to more than they may."""
    codes = codes.copy()
    curvature = np.einsum("gkk->gk", moments)
    for group, row in zip(*np.nonzero(np.abs(codes).sum(axis=2) > largest_sum), strict=True):
        own, step = codes[group, row], steps[group, row, 0]
        gradient = (own * step) @ moments[group] - wanted[group, row]
        for _ in range(int(np.abs(own).sum()) - largest_sum):
            change = -np.sign(own) * step
            harm = np.where(own == 0.0, np.inf, change * (2.0 * gradient + change * curvature[group]))
            index = int(harm.argmin())
            own[index] -= np.sign(own[index])
            gradient += change[index] * moments[group, index]
    return codes
