"""What `edgewright inspect` does: find out what a file is, read it, and print it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.document import visible, visible_json
from device_agent.contract.manifest_codec import encode
from device_agent.contract.zip_layout import LOCAL_SIGNATURE
from host_tools.cli.printing import print_found
from host_tools.cli.progress import ProgressBars
from host_tools.cli.shapes import parse_constants, parse_shapes
from host_tools.cli.sound_words import sound_in_words
from host_tools.errors import InputError
from host_tools.target_profiles import load_profile, load_profiles
from targets import catalog

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from device_agent.contract.manifest import Manifest, PayloadTensor, Preprocessing, Requires
    from device_agent.contract.text import Text
    from targets.profile import CapabilityProfile

_REFUSED = 3
_EVERY = "all"
_PAYLOADS = (".xml", ".ewa")
_MODELS = (".onnx", ".tflite")


def run(options: argparse.Namespace) -> int:
    """Print what the file is; 3 when a target that was asked for refuses it."""
    kind = Path(options.file).suffix.lower()
    if kind not in _PAYLOADS and not _is_artifact(Path(options.file)):
        _require_unused(options, "digest", "an artifact (.ewa)")
        return _run_model(options)
    for name in ("targets", "shape", "constant", "signature", "tensorflow_python"):
        _require_unused(options, name, "a float model")
    if kind == ".xml":
        _require_unused(options, "digest", "an artifact (.ewa)")
        return _run_payload(options)
    return _run_artifact(options)


def _require_unused(options: argparse.Namespace, name: str, meant: str) -> None:
    if getattr(options, name):
        option = "--target" if name == "targets" else f"--{name.replace('_', '-')}"
        raise InputError(
            f"{options.file}: {option} is about {meant}, which this file is not.",
            hint="Leave it out."
            if name != "targets"
            else f"Ask: edgewright targets check {options.file} --target {options.targets[0]}.",
        )


def _is_artifact(path: Path) -> bool:
    """Tell whether a path of any name is for the reader of archives: a zip that Keras did not write, or what is neither file nor folder."""
    if path.suffix.lower() in _MODELS or path.is_dir() or not path.exists():
        return False
    if path.is_file() and not _begins_like_zip(path):
        return False
    from host_tools.model.from_tensorflow.kinds import kind_of  # noqa: PLC0415 - onnx takes a second, which artifacts need not

    return kind_of(path) is None


def _begins_like_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(LOCAL_SIGNATURE)) == LOCAL_SIGNATURE
    except OSError:  # the reader of models words it
        return False


def _run_model(options: argparse.Namespace) -> int:
    from host_tools.inspection import terminal  # noqa: PLC0415 - as above
    from host_tools.inspection.declared import declared  # noqa: PLC0415
    from host_tools.inspection.inspection import inspect_model  # noqa: PLC0415
    from host_tools.model.from_tensorflow.options import TensorFlowOptions  # noqa: PLC0415

    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    profiles = _profiles(options.targets)
    path = Path(options.file)
    file = declared(path)
    if file is not None and file.quantized is not None:
        _require_unused(options, "constant", "a float model")
        return _run_quantized(options, profiles)
    with ProgressBars(
        quiet=options.json or (path.is_file() and path.suffix.lower() in (".onnx", ".tflite"))
    ) as progress:
        found = inspect_model(
            path,
            shapes=parse_shapes(options.shape),
            constants=parse_constants(options.constant),
            profiles=profiles,
            rehearse=bool(options.targets),
            tensorflow=TensorFlowOptions(signature=options.signature, python=options.tensorflow_python),
            progress=progress,
        )
    print_found(terminal.data(found) if options.json else terminal.render(found))
    return _REFUSED if options.targets and any(one.status == "refused" for one in found.targets) else 0


def _profiles(asked: Sequence[str]) -> tuple[CapabilityProfile, ...]:
    """Return the targets that were asked for; all where none was, or where ``all`` was.

    Raises:
        InputError: ``all`` was named together with others.
        TargetError: See `host_tools.target_profiles.load_profiles`.
    """
    if asked and _EVERY not in asked:
        return load_profiles(asked)
    if len(asked) > 1:
        raise InputError("--target all names every target already.", hint="Leave the others out.")
    return tuple(load_profile(name) for name in catalog.ids())


def _run_quantized(options: argparse.Namespace, profiles: Sequence[CapabilityProfile]) -> int:
    """Print a file that is quantized already, and which targets can have its codes."""
    from host_tools.inspection import payload_table  # noqa: PLC0415 - as for models
    from host_tools.inspection.payload import inspect_payload  # noqa: PLC0415
    from host_tools.inspection.relowering import relowering_of  # noqa: PLC0415

    path = Path(options.file)
    found = relowering_of(
        path, shapes=parse_shapes(options.shape), profiles=profiles, rehearse=bool(options.targets)
    )
    payload = inspect_payload(path, relowering=found)
    print_found(payload_table.data(payload) if options.json else payload_table.render(payload))
    if not options.targets or found is None:
        return 0
    return _REFUSED if found.refusal or any(one.status == "refused" for one in found.targets) else 0


def _run_payload(options: argparse.Namespace) -> int:
    from host_tools.inspection import payload_table  # noqa: PLC0415 - as for models
    from host_tools.inspection.payload import inspect_payload  # noqa: PLC0415

    found = inspect_payload(Path(options.file))
    print_found(payload_table.data(found) if options.json else payload_table.render(found))
    return 0


def _run_artifact(options: argparse.Namespace) -> int:
    archive = ArtifactArchive.open(Path(options.file), expected_digest=options.digest)
    manifest, digest = archive.manifest, archive.digest
    for member in (*manifest.payload, *manifest.members):
        archive.read(member.name)
    if options.json:
        print(visible_json({"digest": digest, "manifest": json.loads(encode(manifest))}, indent=1))
        return 0
    for name, value in _rows(manifest, digest):
        print(f"{name:<12} {visible(value)}")
    return 0


def _rows(manifest: Manifest, digest: str) -> list[tuple[str, str]]:
    requires = manifest.requires
    size = sum(member.size_bytes for member in manifest.payload)
    return [
        ("model", f"{manifest.name} {manifest.version}"),
        ("target", manifest.target),
        ("digest", digest),
        ("verdict", manifest.verdict),
        (
            "payload",
            f"{manifest.format}, {', '.join(member.name for member in manifest.payload)}, {size / 2**20:.2f} MiB",
        ),
        (
            "needs",
            f"engine {requires.engine} ({_versions(requires)}), agent >= {requires.agent_min_version}{_known(requires)}",
        ),
        *(("input", _described(tensor)) for tensor in manifest.inputs),
        *(("output", _described(tensor)) for tensor in manifest.outputs),
        *([] if manifest.preprocessing is None else [("pictures", _prepared(manifest.preprocessing))]),
        *([] if manifest.sound is None else [("recordings", sound_in_words(manifest.sound))]),
        *([] if manifest.text is None else [("texts", _read_as(manifest.text))]),
        ("golden", f"{len(manifest.golden)} samples, at most {manifest.tolerance.max_lsb} codes apart"),
        ("float model", manifest.model_digest),
        ("calibration", manifest.data_digest),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.made_with.items())),
    ]


def _versions(requires: Requires) -> str:
    versions = " or ".join(
        f"{library} >= {version}" for library, version in requires.engine_min_versions.items()
    )
    needed = " or ".join(requires.processor_features)
    return f"{versions}, on a processor with {needed}" if needed else versions


def _known(requires: Requires) -> str:
    return f" that knows {', '.join(requires.manifest_features)}" if requires.manifest_features else ""


def _prepared(preprocessing: Preprocessing) -> str:
    """Say what becomes of a picture, in the order in which it does."""
    resize = "x".join(map(str, preprocessing.resize))
    crop = None if preprocessing.crop is None else "x".join(map(str, preprocessing.crop))
    sized = (
        f"resized to {resize}" if crop is None else f"resized to cover {resize}, the centre {crop} cut out"
    )
    mean, std = (
        ", ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std)
    )
    return f"{preprocessing.color}, {sized} ({preprocessing.resample}), minus {mean}, by {std}, {preprocessing.layout}"


def _read_as(text: Text) -> str:
    """Say what becomes of a text."""
    inputs = ", ".join(f"{part} to {name}" for name, part in text.inputs.items())
    return f"{text.length} tokens by {text.tokenizer}, {inputs}; {len(text.samples)} texts with their numbers"


def _described(tensor: PayloadTensor) -> str:
    shape = "x".join(map(str, tensor.shape))
    scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{tensor.name}: {tensor.dtype} {shape}{scale}"
