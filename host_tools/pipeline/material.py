"""What the user gave, opened and found to belong together: model, calibration data, evaluation data, and how frames become inputs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.sound import Sound
from host_tools.errors import InputError
from host_tools.model.pixel_input import taking_pixels
from host_tools.observe import open_data
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.labels import read_labels, require_classes
from host_tools.observe.preparation_file import find_preparation
from host_tools.observe.sources.random_inputs import RandomInputs
from host_tools.observe.text_input import TextInput
from host_tools.plan.pixel_codes import with_pixel_codes
from host_tools.plan.planner import require_recipe
from host_tools.stages.imported import require_importable
from host_tools.verify.candidate import Evaluation
from host_tools.verify.quality import load_metric
from host_tools.verify.verification_report import Budget
from targets.profile import UNCALIBRATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.contract.manifest import Preprocessing
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.preparation import OpenPreparation
    from host_tools.recipe import Recipe

_UNLABELLED_SAMPLES = 64  # of the calibration data, when no evaluation data were given


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a conversion starts from.

    Attributes:
        model: The float model, with mean and std inside where they are folded.
        recipe: How to quantize it.
        preparation: How pictures, recordings or texts become its inputs; None where data are none of them.
        calibration: What it is calibrated on, or its weights are rounded by; random inputs where none were given.
        evaluation: What payloads are verified on.
        takes_pixels: Whether the model's input is the pixels themselves.
    """

    model: FloatModel
    recipe: Recipe
    preparation: OpenPreparation | None
    calibration: CalibrationSet
    evaluation: Evaluation
    takes_pixels: bool

    @property
    def is_imported(self) -> bool:
        """Whether the file was quantized already, and keeps its scales and codes."""
        return self.model.quantization is not None

    @property
    def is_calibrated(self) -> bool:
        """Whether ranges of activations come from the calibration data."""
        return _is_calibrated(self.model, self.recipe)

    @property
    def calibration_samples(self) -> int:
        """How many samples of data the plan was fitted to."""
        return len(self.calibration) if self.is_calibrated or self.recipe.fits_weights else 0

    @property
    def usual_budget(self) -> Budget:
        """What a payload must reach where the user named nothing.

        The classes of random inputs lie within a code of one another as often as not; of a quantized file we have its own outputs to
        compare with.
        """
        is_random = self.evaluation.data.where == RandomInputs.where
        return Budget(min_agreement=0.0) if self.is_imported and is_random else Budget()


def open_material(
    model: FloatModel,
    recipe: Recipe,
    *,
    data: str | Path | None,
    limit: int | None,
    evaluation: str | Path | None,
    labels: str | Path | None,
    metric: str | None,
    preprocess: str | Path | None,
    fold_preprocessing: bool,
) -> Material:
    """Open the data and find out whether all belongs together. For the arguments see `host_tools.pipeline.convert`.

    Raises:
        InputError: Data are missing, unreadable, or not for this model; or an option needs another one.
    """
    require_recipe(model, recipe)
    if model.quantization is not None:
        require_importable(recipe)
    preparation = find_preparation(preprocess, data if data is not None else evaluation)
    of_evaluation = preparation
    if evaluation is not None and preprocess is None:
        of_evaluation = _one_preparation(preparation, evaluation)
    if isinstance(of_evaluation, TextInput):
        of_evaluation.require_inputs(model.inputs)
        of_evaluation.require_rows(model.graph)
        preparation = of_evaluation  # also where calibration data are arrays: devices get texts
    if fold_preprocessing:
        recipe = with_pixel_codes(recipe, model.inputs[0].name)
        model, preparation = _folded(model, preparation)
        of_evaluation = preparation
    if isinstance(preparation, Sound):
        _require_sound_fits(model, preparation)
    opened = partial(open_data, inputs=model.inputs, only_pictures=fold_preprocessing)
    calibration = (
        CalibrationSet(RandomInputs(model), model.inputs)
        if data is None
        else opened(data, preparation=preparation, limit=limit)
    )
    samples = _evaluation(
        model,
        calibration,
        evaluation,
        labels,
        metric,
        opened=partial(opened, preparation=of_evaluation),
        origin=_origin(data, limit, recipe, is_calibrated=_is_calibrated(model, recipe)),
    )
    return Material(
        model=model,
        recipe=recipe,
        preparation=preparation,
        calibration=calibration,
        evaluation=samples,
        takes_pixels=fold_preprocessing,
    )


def _is_calibrated(model: FloatModel, recipe: Recipe) -> bool:
    return recipe.precision == "int8" and model.quantization is None


def _one_preparation(calibration: OpenPreparation | None, evaluation: str | Path) -> OpenPreparation | None:
    """Return how the evaluation's frames become inputs: as the calibration's do, or as their own file says where that has none.

    Raises:
        InputError: The two differ: what would be verified is not what the device will do.
    """
    own = find_preparation(None, evaluation)
    if calibration is not None and own is not None and calibration != own:
        raise InputError(
            f"{evaluation}: its preprocess.toml and that of --data differ.",
            hint="Give one for both by --preprocess FILE, or make them equal.",
        )
    return calibration if calibration is not None else own


def _folded(model: FloatModel, preparation: OpenPreparation | None) -> tuple[FloatModel, Preprocessing]:
    """Return the model with mean and std inside, and what is left to do with pictures.

    Raises:
        InputError: Nothing says what mean and std are, or the model takes no such pictures.
    """
    if isinstance(preparation, TextInput):
        raise InputError(
            f"--fold-preprocessing: {preparation.where} says how texts become inputs, of which nothing can be folded into the model.",
            hint="Leave --fold-preprocessing out.",
        )
    if preparation is None:
        raise InputError(
            "--fold-preprocessing: nothing says what to fold: there is no preprocess.toml in or beside the data.",
            hint="Put one there, or give --preprocess FILE.",
        )
    if isinstance(preparation, Sound):
        raise InputError(
            "--fold-preprocessing: preprocess.toml declares sound; what is folded are the mean and std of pictures.",
            hint="Leave it out: the agent normalises.",
        )
    channels = len(preparation.mean)
    left = dataclasses.replace(preparation, mean=(0.0,) * channels, std=(1.0,) * channels)
    return taking_pixels(model, preparation), left


def _require_sound_fits(model: FloatModel, sound: Sound) -> None:
    """Hold what recordings become against the model before any is read.

    Raises:
        InputError: The model has several inputs, or one of another shape.
    """
    if [spec.shape for spec in model.inputs] != [sound.shape]:
        told = ", ".join(f"{spec.name!r} {list(spec.shape)}" for spec in model.inputs)
        raise InputError(
            f"preprocess.toml: [sound] gives one input of shape {list(sound.shape)} ({', '.join(sound.layout)}); the model has {told}.",
            hint="Mend layout, duration or frames, or the number of features.",
        )


def _evaluation(
    model: FloatModel,
    calibration: CalibrationSet,
    data: str | Path | None,
    labels: str | Path | None,
    metric: str | None,
    *,
    opened: Callable[[str | Path], CalibrationSet],
    origin: str,
) -> Evaluation:
    if metric is not None and labels is None:
        raise InputError(
            "--metric needs --labels: it rates outputs against the label of their sample.",
            hint="Add --labels FILE.",
        )
    if data is None:
        if labels is not None:
            raise InputError(
                "--labels needs --eval: labels belong to evaluation data.", hint="Add --eval DATA."
            )
        few = calibration.spread(_UNLABELLED_SAMPLES)
        return Evaluation(
            data=few,
            labels=None,
            metric=None,
            origin=f"{len(few)} {origin}: no --eval was given",
        )
    chosen = opened(data)
    # Samples of another shape are told before the model has run over all of --data, not after.
    next(iter(chosen))
    known = read_labels(labels, chosen) if labels is not None else None
    if known is not None and metric is None:
        require_classes(known, math.prod(model.outputs[0].shape))
    if metric is not None:
        load_metric(metric)  # a misspelt one is told before the model has run over all samples, not after
    return Evaluation(data=chosen, labels=known, metric=metric, origin=Path(data).name)


def _origin(data: str | Path | None, limit: int | None, recipe: Recipe, *, is_calibrated: bool) -> str:
    """Say what verification runs on where no evaluation data were given.

    Raises:
        InputError: The precision, the scaling or the rounding needs calibration data, and there are none; or a number of them is given alone.
    """
    if is_calibrated:
        if data is None:
            raise InputError(
                "--data: precision int8 needs calibration data, got none.",
                hint=f"Give --data, or a precision that needs none: --precision {', '.join(UNCALIBRATED)}.",
            )
        return "of the calibration samples"
    if data is None and recipe.rounding != "nearest":
        raise InputError(
            f"--rounding {recipe.rounding} needs calibration data, got none.",
            hint="Give --data, or leave --rounding out: every weight then goes to its nearest code.",
        )
    if data is None and recipe.scaling != "none":
        raise InputError(
            f"--scaling {recipe.scaling} needs calibration data, got none.",
            hint="Give --data, or leave --scaling out: weights are then rounded as they are.",
        )
    if data is None and limit is not None:
        raise InputError("--limit needs --data: it counts their samples.", hint="Leave --limit out.")
    return (
        "random inputs, as no --data were given, which say little of real ones"
        if data is None
        else "samples of --data"
    )
