"""Texts of an artifact at the agent's start: the library that reads its tokeniser is there, and gets the numbers that the host got.

Imports numpy and the library only for an artifact that takes texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ContractError, IncompatibleError, SelfTestError
from device_agent.contract.text_codec import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.manifest import Manifest
    from device_agent.contract.text import Text, TextSample
    from device_agent.sources.text import TextReader

_HINT: Final = "Install the version of tokenizers that the manifest's made_with names."


def require_library(manifest: Manifest) -> None:
    """Hold what texts need against what is here.

    Raises:
        IncompatibleError: The artifact takes texts, and the library that reads its tokeniser, or NumPy, is absent.
    """
    if manifest.text is None:
        return
    what = f"{manifest.name} {manifest.version}"
    try:
        from device_agent.sources.text import TokeniserError, library_version  # noqa: PLC0415  see the module's docstring
    except ModuleNotFoundError as error:  # NumPy comes with an engine's library; the null engine has none
        raise IncompatibleError(
            f"{what} takes texts, for which {error.name} is needed, which is not installed.",
            hint=f"pip install {error.name}",
        ) from error
    try:
        library_version()
    except TokeniserError as error:
        raise IncompatibleError(f"{what} takes texts: {error.args[0]}", hint=error.hint) from error


def open_text(archive: ArtifactArchive, text: Text) -> TextReader:
    """Return what reads texts for an artifact, once it has read those of the manifest to the same numbers.

    Args:
        archive: Holds the tokeniser.
        text: What its manifest declares.

    Raises:
        SelfTestError: It reads one of them otherwise.
        ContractError: The artifact's tokeniser cannot be used.
        TrustError: It is not what the manifest says.
        StorageError: The archive cannot be read.
    """
    from device_agent.sources.text import TextReader, TokeniserError  # noqa: PLC0415  see the module's docstring

    where = f"{archive.path.name}: {text.tokenizer}"
    data = archive.read(text.tokenizer)
    try:
        reader = TextReader(
            data,
            length=text.length,
            inputs=text.inputs,
            where=where,
            max_bytes=text.max_bytes or MAX_TEXT_BYTES,
        )
    except TokeniserError as error:
        raise ContractError(error.args[0], hint=error.hint) from error
    for number, sample in enumerate(text.samples):
        _require_same(reader, sample, f"{where}: text {number}")
    return reader


def _require_same(reader: TextReader, sample: TextSample, where: str) -> None:
    from device_agent.sources.adapt import FrameError  # noqa: PLC0415  see the module's docstring

    try:
        found = reader.numbers(sample.text)
    except FrameError as error:
        raise SelfTestError(f"{where}: {error}", hint=_HINT) from error
    for part, numbers in found.items():
        wanted: tuple[int, ...] = getattr(sample, part)
        for place, (ours, theirs) in enumerate(zip(numbers, wanted, strict=True)):
            if ours != theirs:
                raise SelfTestError(
                    f"{where}, {part}: token {place} is {theirs} on the host and {ours} here, by tokenizers {reader.library_version}: "
                    "the model would be fed other numbers than it was made for.",
                    hint=_HINT,
                )
