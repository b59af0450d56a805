"""The flow of a conversion: observe, plan, lower, verify, diagnose, write. `convert` is one function; its lines are the verbs in order."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.errors import InputError
from host_tools.made_with import made_with
from host_tools.model import load
from host_tools.model.from_tensorflow.options import TensorFlowOptions
from host_tools.output_folder import open_output_folder
from host_tools.pack.artifact import checked_name, checked_version
from host_tools.pack.heat_file import read_heat
from host_tools.pipeline.candidates import candidates_of, preparation
from host_tools.pipeline.judging import diagnoses_of, verified_of
from host_tools.pipeline.material import open_material
from host_tools.pipeline.writing import write
from host_tools.processor import usable_processors
from host_tools.progress import Progress, Silent
from host_tools.recipe import Recipe
from host_tools.stages.uncalibrated import as_required
from host_tools.target_profiles import load_profiles
from host_tools.verify.verifier import verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.mixed_precision import Goal
    from host_tools.pipeline.writing import Conversion
    from host_tools.verify.verification_report import Budget

_DEFAULT_THREADS = 4
_MOST_THREADS_A_CORE = 4  # with many thousands an engine never gets to work


def convert(
    model: str | Path,
    *,
    data: str | Path | None = None,
    targets: Sequence[str],
    out: str | Path,
    name: str | None = None,
    version: str = "0.1.0",
    recipe: Recipe | None = None,
    preprocess: str | Path | None = None,
    fold_preprocessing: bool = False,
    heat: str | Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    constants: Mapping[str, tuple[float, ...]] | None = None,
    limit: int | None = None,
    evaluation: str | Path | None = None,
    labels: str | Path | None = None,
    metric: str | None = None,
    budget: Budget | None = None,
    goal: Goal | None = None,
    latency: bool = True,
    diagnosis: bool = True,
    budget_minutes: float | None = None,
    threads: int | None = None,
    cache: str | Path | None = None,
    signature: str | None = None,
    tensorflow_python: str | Path | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Calibrate a float model once and convert it for every target, with proof; a file that is quantized already keeps its scales and codes.

    Args:
        model: ONNX file, TFLite file, Keras model (``.keras``, ``.h5``), or a SavedModel's folder.
        data: Calibration data: a folder of pictures or of texts, a ``.txt`` with one a line, ``.npy``, ``.npz``, a folder of ``.npy``, or
            ``module:function``. A precision that needs no calibration, or a file that is quantized already, is verified on them, or on random
            inputs where they are None.
        targets: Profile ids or paths of profile files; at least one.
        out: Folder for payloads, artifacts and reports.
        name: Name of the model; by default the file's stem.
        version: Version of the model as you count it.
        recipe: How to quantize; by default the plan chooses, and says so.
        preprocess: How pictures or texts become inputs; by default ``preprocess.toml`` in or beside the data.
        fold_preprocessing: Whether mean and std go into the model, so that its input, and the payload's, is the pixels themselves, 0 to 255;
            for precision int8 and data that are pictures.
        heat: TOML file with what devices are to do when they get hot, which the artifacts then declare; see docs/agent.md.
        shapes: Shapes of inputs whose shape the file leaves open.
        constants: Inputs that become constants, by name; see `host_tools.model.load`.
        limit: Use only the first samples of ``data``.
        evaluation: Samples to verify on, of the same kinds as ``data``; by default calibration data, and the report says so.
        labels: One label a sample of ``evaluation``.
        metric: ``module:function`` that rates one sample; by default top-1 and top-5.
        budget: What a payload must reach; see `Budget`. None: its defaults; of a quantized file on random inputs,
            where classes say nothing, without `min_agreement`.
        goal: What outputs are to reach on calibration samples, by all methods and then by moving operators to float; None: see `GOOD_DECIBELS`.
        latency: Whether to measure latency.
        diagnosis: Whether to find out which layers cost most.
        budget_minutes: How long methods beyond the plan may take for all targets together; what they then came to is used. None: no limit.
        threads: Threads of one inference; by default all cores, at most 4.
        cache: Folder of cached statistics and converted models.
        signature: Which signature of a SavedModel; by default its only one, or ``serving_default``.
        tensorflow_python: The Python that has TensorFlow, see `host_tools.model.from_tensorflow.options`.
        progress: Told how far it is.

    Raises:
        EdgewrightError: See `host_tools.errors`: input, capability, verification or output. What is written is written whole.
    """
    told = progress or Silent()
    used_threads = _threads(threads)
    profiles = load_profiles(targets)
    checked_version(version)
    declared_heat = None if heat is None else read_heat(Path(heat))
    if name is not None:
        checked_name(name)
    told.stage("Reading the model", None)
    float_model = load(
        model,
        shapes=shapes,
        constants=constants,
        name=name,
        tensorflow=TensorFlowOptions(signature=signature, python=tensorflow_python, cache=cache),
        progress=told,
    )
    checked_name(float_model.name)
    material = open_material(
        float_model,
        recipe or Recipe(),
        data=data,
        limit=limit,
        evaluation=evaluation,
        labels=labels,
        metric=metric,
        preprocess=preprocess,
        fold_preprocessing=fold_preprocessing,
    )
    profiles = tuple(as_required(profile, material.recipe) for profile in profiles)
    with open_output_folder(Path(out)) as folder:
        prepared = preparation(
            material,
            folder,
            goal=goal,
            budget_minutes=budget_minutes,
            threads=used_threads,
            cache=cache,
            progress=told,
        )
        candidates, statistics, refused = candidates_of(
            prepared, profiles, takes_pixels=material.takes_pixels, progress=told
        )
        run = partial(
            verify,
            material.model,
            evaluation=material.evaluation,
            budget=budget or material.usual_budget,
            calibration_samples=material.calibration_samples,
            original=Path(model) if material.is_imported else None,
            threads=used_threads,
            made_with=made_with(),
            progress=told,
        )
        candidates, verified = verified_of(run, candidates, refused, latency=latency)
        diagnoses = (
            diagnoses_of(material, candidates, verified, statistics, threads=used_threads, progress=told)
            if diagnosis
            else {}
        )
        return write(
            folder,
            material,
            candidates,
            verified,
            diagnoses,
            version=version,
            heat=declared_heat,
            progress=told,
        )


def _threads(asked: int | None) -> int:
    cores = usable_processors()
    if asked is None:
        return min(cores, _DEFAULT_THREADS)
    if not 1 <= asked <= _MOST_THREADS_A_CORE * cores:
        raise InputError(
            f"--threads: expected 1 to {_MOST_THREADS_A_CORE * cores} on these {cores} cores, got {asked}."
        )
    return asked
