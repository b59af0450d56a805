"""`edgewright inspect`: what an artifact is, after every digest in it was checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.manifest_codec import encode

if TYPE_CHECKING:
    import argparse

    from device_agent.contract.manifest import Manifest, PayloadTensor, Requires


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inspect",
        help="show and check an artifact",
        description="Check every digest of an artifact and show what it is and needs.",
        epilog="example: edgewright inspect build/model-1.0.0-cortex-a-tflite.ewa",
    )
    parser.add_argument("artifact", metavar="FILE.ewa", help="the artifact")
    parser.add_argument("--digest", metavar="sha256:…", help="refuse the file unless it has this digest")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    parser.set_defaults(run="host_tools.cli.inspect:run")


def run(options: argparse.Namespace) -> int:
    """Check and show."""
    archive = ArtifactArchive.open(Path(options.artifact), expected_digest=options.digest)
    manifest, digest = archive.manifest, archive.digest
    for member in (*manifest.payload, *manifest.members):
        archive.read(member.name)
    if options.json:
        print(
            json.dumps(
                {"digest": digest, "manifest": json.loads(encode(manifest))}, ensure_ascii=False, indent=1
            )
        )
        return 0
    for name, value in _rows(manifest, digest):
        print(f"{name:<12} {value}")
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
            f"engine {requires.engine} ({_versions(requires)}), agent >= {requires.agent_min_version}",
        ),
        *(("input", _described(tensor)) for tensor in manifest.inputs),
        *(("output", _described(tensor)) for tensor in manifest.outputs),
        ("golden", f"{len(manifest.golden)} samples, at most {manifest.tolerance.max_lsb} codes apart"),
        ("float model", manifest.model_digest),
        ("calibration", manifest.data_digest),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.made_with.items())),
    ]


def _versions(requires: Requires) -> str:
    return " or ".join(f"{library} >= {version}" for library, version in requires.engine_min_versions.items())


def _described(tensor: PayloadTensor) -> str:
    shape = "x".join(map(str, tensor.shape))
    scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{tensor.name}: {tensor.dtype} {shape}{scale}"
