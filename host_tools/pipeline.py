"""The flow of a conversion: observe, plan, lower, verify, pack. `convert` is one function; its lines are the verbs in order."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from device_agent.contract.archive import write_archive
from device_agent.contract.errors import EngineError
from host_tools.diagnose.diagnoser import Subject, diagnose
from host_tools.diagnose.diagnosis_file import encode as encode_diagnosis
from host_tools.diagnose.diagnosis_page import render_diagnosis
from host_tools.errors import CapabilityError, InputError, LoweringError, VerificationError
from host_tools.lower.lowering import lower
from host_tools.lower.sidecars import SIDECAR_FILES
from host_tools.made_with import made_with
from host_tools.model import load
from host_tools.model.from_tensorflow.options import TensorFlowOptions
from host_tools.model.pixel_input import taking_pixels
from host_tools.observe import open_data
from host_tools.observe.cache import StatisticsCache, statistics_of
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.labels import read_labels, require_classes
from host_tools.observe.preprocessing_file import find_preprocessing
from host_tools.observe.ranges import choose_range
from host_tools.observe.sources.random_inputs import RandomInputs
from host_tools.observe.statistics_file import encode as encode_statistics
from host_tools.output_folder import OutputFolder, open_output_folder
from host_tools.pack.artifact import artifact_name, checked_name, checked_version, pack
from host_tools.pack.heat_file import read_heat
from host_tools.plan.check import check
from host_tools.plan.pixel_codes import require_pixel_codes, with_pixel_codes
from host_tools.plan.plan_file import encode as encode_plan
from host_tools.plan.planner import needs_histograms, require_recipe
from host_tools.progress import Progress, Silent
from host_tools.recipe import Recipe
from host_tools.stages import Yardstick, prepare, prepare_imported, prepare_uncalibrated
from host_tools.stages.imported import require_importable
from host_tools.stages.uncalibrated import as_required
from host_tools.target_profiles import load_profiles
from host_tools.verify.candidate import Candidate, Evaluation, Verified
from host_tools.verify.quality import load_metric
from host_tools.verify.report_file import encode as encode_report
from host_tools.verify.report_page import render_report
from host_tools.verify.verification_report import Budget, Refusal
from host_tools.verify.verifier import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device_agent.contract.manifest import Heat, Preprocessing
    from host_tools.diagnose.diagnosis import Diagnosis
    from host_tools.mixed_precision import Goal
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from host_tools.stages import Prepared
    from host_tools.verify.verification_report import VerificationReport
    from targets.profile import CapabilityProfile

_DEFAULT_THREADS = 4
_MOST_THREADS_A_CORE = 4  # with many thousands an engine never gets to work
_PAYLOAD_FILES = ("model.onnx", "model.tflite", "model.xml", "model.bin")
_TARGET_FILES = ("plan.json", "diagnosis.json", *_PAYLOAD_FILES, *SIDECAR_FILES.values())
_UNLABELLED_SAMPLES = 64  # of the calibration data, when no evaluation data were given


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What a conversion left behind.

    Attributes:
        report: The verification of all targets.
        artifacts: Path of each target's ``.ewa``, by target; absent where the verdict forbids shipping.
        report_page: Path of ``report.html``.
        report_file: Path of ``report.json``.
        diagnoses: Path of each target's ``diagnosis.json``, by target; empty where none was wanted.
    """

    report: VerificationReport
    artifacts: Mapping[str, Path]
    report_page: Path
    report_file: Path
    diagnoses: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))
        object.__setattr__(self, "diagnoses", MappingProxyType(dict(self.diagnoses)))


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
        data: Calibration data: a folder of pictures, ``.npy``, ``.npz``, a folder of ``.npy``, or ``module:function``. A precision
            that needs no calibration, or a file that is quantized already, is verified on them, or on random inputs where they are None.
        targets: Profile ids or paths of profile files; at least one.
        out: Folder for payloads, artifacts and reports.
        name: Name of the model; by default the file's stem.
        version: Version of the model as you count it.
        recipe: How to quantize; by default the plan chooses, and says so.
        preprocess: How pictures become inputs; by default ``preprocess.toml`` in or beside the data.
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
    chosen = recipe or Recipe()
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
    require_recipe(float_model, chosen)
    is_imported = float_model.quantization is not None
    is_calibrated = chosen.precision == "int8" and not is_imported
    if is_imported:
        require_importable(chosen)
    preprocessing = find_preprocessing(preprocess, data if data is not None else evaluation)
    of_evaluation = preprocessing
    if evaluation is not None and preprocess is None:
        of_evaluation = _one_preprocessing(preprocessing, evaluation)
    if fold_preprocessing:
        chosen = with_pixel_codes(chosen, float_model.inputs[0].name)
        float_model, preprocessing = _folded(float_model, preprocessing)
        of_evaluation = preprocessing
    opened = partial(open_data, inputs=float_model.inputs, only_pictures=fold_preprocessing)
    calibration = (
        CalibrationSet(RandomInputs(float_model), float_model.inputs)
        if data is None
        else opened(data, preprocessing=preprocessing, limit=limit)
    )
    samples = _evaluation(
        float_model,
        calibration,
        evaluation,
        labels,
        metric,
        opened=partial(opened, preprocessing=of_evaluation),
        origin=_origin(data, limit, chosen, is_calibrated=is_calibrated),
    )
    profiles = tuple(as_required(profile, chosen) for profile in profiles)
    with open_output_folder(Path(out)) as folder:
        statistics: Statistics | None = None
        if is_calibrated:
            kept = StatisticsCache(cache)
            statistics = statistics_of(
                float_model,
                calibration,
                histograms=needs_histograms(chosen),
                threads=used_threads,
                cache=kept,
                progress=told,
            )
            folder.write("statistics.json", encode_statistics(statistics))
            prepared = partial(
                prepare,
                float_model,
                statistics,
                recipe=chosen,
                data=calibration,
                yardstick=Yardstick(float_model, calibration, threads=used_threads),
                threads=used_threads,
                cache=kept,
                progress=told,
                deadline=None if budget_minutes is None else time.monotonic() + 60.0 * budget_minutes,
                goal=goal,
            )
        else:
            folder.remove("statistics.json")  # of an earlier run
            weights_alone = partial(
                prepare_uncalibrated, data=calibration, threads=used_threads, progress=told
            )
            one_stage = prepare_imported if is_imported else weights_alone
            prepared = partial(one_stage, float_model, recipe=chosen)
        made, refused = _candidates(prepared, profiles, told, takes_pixels=fold_preprocessing)
        candidates = [candidate for candidate, _ in made]
        seen = {candidate.profile.id: own for candidate, own in made}
        run = partial(
            verify,
            float_model,
            evaluation=samples,
            budget=budget or _usual_budget(samples, is_imported=is_imported),
            calibration_samples=len(calibration) if is_calibrated or chosen.fits_weights else 0,
            original=Path(model) if is_imported else None,
            threads=used_threads,
            made_with=made_with(),
            progress=told,
        )
        candidates, verified = _verified(run, candidates, refused, latency=latency)
        subjects = [
            Subject(
                model=candidate.model,
                candidate=candidate,
                statistics=own,
                report=report,
                samples=verified.samples[report.target],
            )
            for candidate, report in zip(candidates, verified.report.targets, strict=True)
            if (own := seen[candidate.profile.id]) is not None
        ]
        diagnoses = (
            diagnose(float_model, subjects, evaluation=samples, threads=used_threads, progress=told)
            if diagnosis and subjects
            else {}
        )
        return _write(
            folder,
            float_model,
            candidates,
            verified,
            diagnoses,
            version=version,
            recipe=chosen,
            preprocessing=preprocessing,
            heat=declared_heat,
            progress=told,
        )


def _threads(asked: int | None) -> int:
    cores = os.cpu_count() or 1
    if asked is None:
        return min(cores, _DEFAULT_THREADS)
    if not 1 <= asked <= _MOST_THREADS_A_CORE * cores:
        raise InputError(
            f"--threads: expected 1 to {_MOST_THREADS_A_CORE * cores} on these {cores} cores, got {asked}."
        )
    return asked


def _candidates(
    prepared: Callable[..., Prepared],
    profiles: Sequence[CapabilityProfile],
    progress: Progress,
    *,
    takes_pixels: bool,
) -> tuple[list[tuple[Candidate, Statistics | None]], tuple[Refusal, ...]]:
    """Plan and lower for every target; what one of them cannot do is no loss to the others.

    Returns:
        Each candidate with the statistics that its plan was made from, if it was, and the targets that refused.

    Raises:
        CapabilityError: No target can do what the model needs.
        LoweringError: The same, said by the lowering.
    """
    candidates: list[tuple[Candidate, Statistics | None]] = []
    refused: list[Refusal] = []
    for profile in profiles:
        progress.stage(f"Planning for {profile.id}", None)  # its stages count for themselves
        try:
            if takes_pixels:
                require_pixel_codes(profile)
            found = prepared(profile=profile)
            check(found.plan, found.model, profile)
            candidate = Candidate(
                profile=profile,
                model=found.model,
                plan=found.plan,
                payload=lower(found.model, found.plan, profile),
                stages=found.stages,
            )
            candidates.append((candidate, found.statistics))
        except (CapabilityError, LoweringError) as error:
            if len(profiles) == 1:
                raise
            refused.append(Refusal(target=profile.id, reason=str(error)))
    choose_range.cache_clear()  # it holds on to what it was asked of
    if not candidates:
        raise CapabilityError(
            "none of the targets can do what the model needs:"
            + "".join(f"\n  {refusal.target}: {refusal.reason}" for refusal in refused)
        )
    return candidates, tuple(refused)


def _verified(
    run: Callable[..., Verified], candidates: list[Candidate], refused: tuple[Refusal, ...], *, latency: bool
) -> tuple[list[Candidate], Verified]:
    """Verify all candidates side by side; if an engine will not have its payload, find out whose, and verify the others.

    Raises:
        EngineError: The only target's engine refuses its payload or fails.
        VerificationError: The same, said by a probe.
    """
    try:
        return candidates, run(candidates, refused=refused, latency=latency)
    except (EngineError, VerificationError):
        if len(candidates) == 1:
            raise
    good: list[Candidate] = []
    found = list(refused)
    for candidate in candidates:
        try:
            run([candidate], latency=False)
        except (EngineError, VerificationError) as error:
            found.append(Refusal(target=candidate.profile.id, reason=str(error)))
        else:
            good.append(candidate)
    if not good:
        raise CapabilityError(
            "no engine takes what was made for it:"
            + "".join(f"\n  {one.target}: {one.reason}" for one in found)
        )
    return good, run(good, refused=tuple(found), latency=latency)


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
                hint="Give --data, or a precision that needs none: --precision weights-int8, weights-int4, weights-float16 or int8-dynamic.",
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


def _usual_budget(samples: Evaluation, *, is_imported: bool) -> Budget:
    """Return what a payload must reach where the user named nothing.

    The classes of random inputs lie within a code of one another as often as not; of a quantized file we have its own outputs to compare with.
    """
    is_random = samples.data.where == RandomInputs.where
    return Budget(min_agreement=0.0) if is_imported and is_random else Budget()


def _one_preprocessing(calibration: Preprocessing | None, evaluation: str | Path) -> Preprocessing | None:
    """Return how the evaluation's pictures become inputs: as the calibration's do, or as their own file says where that has none.

    Raises:
        InputError: The two differ: what would be verified is not what the device will do.
    """
    own = find_preprocessing(None, evaluation)
    if calibration is not None and own is not None and calibration != own:
        raise InputError(
            f"{evaluation}: its preprocess.toml and that of --data differ.",
            hint="Give one for both by --preprocess FILE, or make them equal.",
        )
    return calibration if calibration is not None else own


def _folded(model: FloatModel, preprocessing: Preprocessing | None) -> tuple[FloatModel, Preprocessing]:
    """Return the model with mean and std inside, and what is left to do with pictures.

    Raises:
        InputError: Nothing says what mean and std are, or the model takes no such pictures.
    """
    if preprocessing is None:
        raise InputError(
            "--fold-preprocessing: nothing says what to fold: there is no preprocess.toml in or beside the data.",
            hint="Put one there, or give --preprocess FILE.",
        )
    channels = len(preprocessing.mean)
    left = dataclasses.replace(preprocessing, mean=(0.0,) * channels, std=(1.0,) * channels)
    return taking_pixels(model, preprocessing), left


def _write(
    folder: OutputFolder,
    model: FloatModel,
    candidates: Sequence[Candidate],
    verified: Verified,
    diagnoses: Mapping[str, Diagnosis],
    *,
    version: str,
    recipe: Recipe,
    preprocessing: Preprocessing | None,
    heat: Heat | None,
    progress: Progress,
) -> Conversion:
    """Write payloads and plans, an artifact for every target that may ship, and the two reports.

    What an earlier run left under these names goes first: an old artifact beside a new report that forbids it would be shipped.
    """
    progress.stage("Writing", len(candidates))
    judged = [
        *(report.target for report in verified.report.targets),
        *(one.target for one in verified.report.refused),
    ]
    for target in judged:
        for name in (
            artifact_name(model.name, version, target),
            *(f"{target}/{file}" for file in _TARGET_FILES),
        ):
            folder.remove(name)
    for name in ("report.html", "report.json"):
        folder.remove(name)
    artifacts: dict[str, Path] = {}
    diagnosed: dict[str, Path] = {}
    for candidate, report in zip(candidates, verified.report.targets, strict=True):
        target = candidate.profile.id
        for name, content in (*candidate.payload.files.items(), *candidate.payload.sidecars.items()):
            folder.write(f"{target}/{name}", content)
        folder.write(f"{target}/plan.json", encode_plan(candidate.plan))
        if target in diagnoses:
            diagnosed[target] = folder.write(f"{target}/diagnosis.json", encode_diagnosis(diagnoses[target]))
        if report.verdict in ("pass", "marginal"):
            artifact = pack(
                model,
                candidate.payload,
                candidate.plan,
                report,
                candidate.profile,
                version=version,
                golden=verified.golden[target],
                recipe=recipe,
                preprocessing=preprocessing,
                heat=heat,
                made_with=made_with(),
            )
            artifacts[target] = folder.write_with(
                artifact.file_name,
                partial(write_archive, manifest=artifact.manifest, members=artifact.members),
            )
        progress.step()
    page = folder.write(
        "report.html", render_report(verified.report, diagnosis=render_diagnosis(diagnoses.values())).encode()
    )
    file = folder.write("report.json", encode_report(verified.report))
    return Conversion(
        report=verified.report,
        artifacts=artifacts,
        report_page=page,
        report_file=file,
        diagnoses=diagnosed,
    )
