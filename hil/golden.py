"""Outputs of a device against the artifact's golden outputs, in LSB, with a tolerance per engine.

A device tells its outputs in real units and the float model's layout; here they become the payload's codes again, which is exact: both
sides round half to even in float64. An output without a scale is compared by its absolute difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.artifact import golden_inputs, golden_outputs
from hil.board import GoldenTolerance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.manifest import PayloadTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How near outputs are to the golden ones.

    Attributes:
        samples: Golden samples that were compared.
        values: Values that were compared.
        max_lsb: Largest difference in units of the output's scale; infinite for a value that is not finite.
        share_exact: Share of values with the same code.
        share_within_one: Share of values within one code.
        max_absolute: Largest difference of outputs without a scale, in real units; 0 when there are none.
        tolerance: What is allowed.
        absolute: Largest difference allowed where there is no scale.
    """

    samples: int
    values: int
    max_lsb: float
    share_exact: float
    share_within_one: float
    max_absolute: float
    tolerance: GoldenTolerance
    absolute: float


class GoldenComparison:
    """Compares one artifact's outputs.

    Args:
        artifact: With its golden samples.
        tolerances: By engine; the artifact's own counts where its engine is not named.
    """

    def __init__(self, artifact: ArtifactArchive, *, tolerances: Mapping[str, GoldenTolerance]) -> None:
        manifest = artifact.manifest
        self._artifact = artifact
        self.samples = len(manifest.golden)
        self.tolerance = tolerances.get(
            manifest.requires.engine,
            GoldenTolerance(
                max_lsb=manifest.tolerance.max_lsb,
                min_share_within_one=manifest.tolerance.min_share_within_one,
            ),
        )

    def frames(self) -> dict[str, NDArray[np.generic]]:
        """Return the golden inputs as a replay has them: by the float model's names, samples along the first axis; integers as they are."""
        inputs = golden_inputs(self._artifact)
        tensors = self._artifact.manifest.inputs
        return {
            tensor.source_name: np.stack([_to_source(sample[index], tensor) for sample in inputs])
            for index, tensor in enumerate(tensors)
        }

    def compare(self, results: Sequence[Mapping[str, Any]]) -> Parity:
        """Hold results of `frames` against the golden outputs.

        Args:
            results: Lines of the agent's file of results; ``frame`` is the index of the sample. Of several of one frame, all count.

        Raises:
            ValueError: A sample has no result, or an output is not told by its values.
        """
        golden = golden_outputs(self._artifact)
        missing = set(range(len(golden))) - {int(result["frame"]) for result in results}
        if missing:
            raise ValueError(f"no result of golden samples {sorted(missing)}")
        steps: list[NDArray[np.float64]] = []
        plain: list[NDArray[np.float64]] = [np.zeros(1)]
        for result in results:
            told = {output["name"]: output for output in result["outputs"]}
            for tensor, expected in zip(
                self._artifact.manifest.outputs, golden[int(result["frame"])], strict=True
            ):
                difference = _difference(told, tensor, _to_source(expected, tensor))
                if tensor.scale is None:
                    plain.append(difference)
                else:
                    steps.append(difference / tensor.scale)
        lsb = np.round(np.concatenate(steps), 3) if steps else np.zeros(1)
        return Parity(
            samples=len(golden),
            values=sum(one.size for one in steps) + sum(one.size for one in plain[1:]),
            max_lsb=float(lsb.max()),
            share_exact=float(np.mean(lsb < 0.5)),
            share_within_one=float(np.mean(lsb <= 1.0)),
            max_absolute=float(np.concatenate(plain).max()),
            tolerance=self.tolerance,
            absolute=self._artifact.manifest.tolerance.absolute,
        )


def _difference(
    told: Mapping[str, Mapping[str, Any]], tensor: PayloadTensor, expected: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Return absolute differences in real units, of all values or of the largest that were told; infinite where not finite."""
    output = told.get(tensor.source_name)
    if output is None or "values" not in output:
        raise ValueError(
            f"output {tensor.source_name!r} is not told by its values; results.raw_max_values is too small"
        )
    values = np.asarray(output["values"], dtype=np.float64)
    flat = expected.reshape(-1).astype(np.float64)
    wanted = flat[np.asarray(output["indices"], dtype=np.int64)] if "indices" in output else flat
    if wanted.shape != values.shape:
        raise ValueError(f"output {tensor.source_name!r}: expected {wanted.size} values, got {values.size}")
    difference = np.abs(values - wanted)
    return np.where(np.isfinite(difference), difference, np.inf)


def _to_source(array: NDArray[np.generic], tensor: PayloadTensor) -> NDArray[np.generic]:
    """Return a payload's tensor in real units and the float model's layout; one without a scale keeps its type."""
    real: NDArray[np.generic] = array
    if tensor.scale is not None and tensor.zero_point is not None:
        real = (array.astype(np.float64) - tensor.zero_point) * tensor.scale
    return np.transpose(real, np.argsort(tensor.source_axes))
