"""`TextInput`: the tokeniser that ``preprocess.toml`` names, read as the device will read it, with texts that prove it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.digest import digest_of
from device_agent.contract.regular_file import read_regular_file
from device_agent.contract.text import TextSample
from device_agent.contract.text_codec import MAX_TEXT_BYTES
from device_agent.sources.adapt import FrameError
from device_agent.sources.text import TextReader, TokeniserError
from host_tools.errors import DataError, InputError
from host_tools.model.table_rows import table_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx_ir as ir
    from numpy.typing import NDArray

    from device_agent.sources.text_declaration import TextDeclaration
    from host_tools.model.float_model import TensorSpec

MAX_TOKENIZER_BYTES: Final = 64 << 20
_TEXTS: Final = (
    "It's 9:41 a.m. on 2026-11-28: Pump No. 7 (\u201cNorth\u201d) isn't running\u2014pressure fell by 12.5%, to 3.1e-2 bar; see https://example.com/a?b=c.",
    "Grüße aus Łódź! Cafe\u0301 costs 3€\u00a0; ΟΔΥΣΣΕΥΣ, Щука, İstanbul, ﬁne\u00adprint, x²\u200b=\u202fｆｕｌｌ\twidth  and  spaces",  # noqa: RUF001
    "東京は晴れ、ｶﾅ。한국어 텍스트 简体字 العربية עברית हिन्दी ภาษาไทย 👩\u200d🔧👍🏽 ∑≤≠ \U00020bb7 end",
)
"""Our own, so that nobody's data are shown by a manifest: plain English, what Unicode's tables are needed for, and other scripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """How texts become a model's inputs; equal to another one that gives the same numbers of every text.

    Attributes:
        declared: What the user wrote.
        digest: Of the ``tokenizer.json``.
        library_version: Of ``tokenizers``, which reads it: another one may give other numbers, so that statistics are kept by it too.
        where: Path of the ``preprocess.toml``, for messages.
        tokenizer: Its bytes.
        reader: Reads texts, as the device does.
        samples: Texts with their numbers, which the device holds its own against.
    """

    declared: TextDeclaration
    digest: str
    library_version: str
    where: str = field(repr=False, compare=False)
    tokenizer: bytes = field(repr=False, compare=False)
    reader: TextReader = field(repr=False, compare=False)
    samples: tuple[TextSample, ...] = field(repr=False, compare=False)

    def arrays(
        self, text: str, inputs: tuple[TensorSpec, ...], *, where: str
    ) -> Mapping[str, NDArray[np.generic]]:
        """Return the model's inputs of a text, in the types that it takes.

        Raises:
            DataError: The tokeniser has no numbers for it, or one that an input's type cannot hold; the message begins with ``where``.
        """
        try:
            numbers = self.reader.arrays(text)
        except FrameError as error:
            raise DataError(f"{where}: {error}") from error
        typed: dict[str, NDArray[np.generic]] = {}
        for spec in inputs:
            typed[spec.name] = numbers[spec.name].astype(spec.dtype)
            if not np.array_equal(typed[spec.name], numbers[spec.name]):
                raise DataError(
                    f"{where}: input {spec.name!r}: {spec.dtype} does not hold every number of a token, of which one is "
                    f"{numbers[spec.name].max()}."
                )
        return typed

    def require_inputs(self, inputs: tuple[TensorSpec, ...]) -> None:
        """Hold what is declared against the model.

        Raises:
            InputError: An input is not declared, is not there, or has another shape or a type that holds no numbers of tokens.
        """
        declared, length, where = self.declared.inputs, self.declared.length, self.where
        for spec in inputs:
            if spec.name not in declared:
                free = [key for key in ("mask", "types") if getattr(self.declared, key) is None]
                way = (
                    f'Write {" or ".join(free)} = "{spec.name}"'
                    if free
                    else "Make it a constant by --constant"
                )
                raise InputError(
                    f"{where}: [text] does not say what the model's input {spec.name!r} takes; a text gives all inputs at once.",
                    hint=f"{way}, or give the model other data.",
                )
            if spec.shape != (1, length):
                raise InputError(
                    f"{where}: text.length: the model's input {spec.name!r} has shape {spec.shape}, {length} tokens give {(1, length)}.",
                    hint=f"Write the model's length, or give --shape {spec.name}=1,{length} where the model leaves it open.",
                )
            if np.dtype(spec.dtype).kind not in "iuf":
                raise InputError(
                    f"{where}: the model's input {spec.name!r} is {spec.dtype}, which holds no numbers."
                )
        names = {spec.name for spec in inputs}
        for name, part in declared.items():
            if name not in names:
                raise InputError(
                    f"{where}: text.{part}: the model has no input {name!r}.",
                    hint=f"Its inputs are {', '.join(sorted(names))}.",
                )

    def require_rows(self, model: ir.Model) -> None:
        """Hold the numbers that the tokeniser can give against the tables that the model looks them up in.

        An engine would fail at the first text that has a larger one, on the device and in the middle of its work, or look up no row.

        Raises:
            InputError: One has fewer rows.
        """
        largest, tables = self.reader.largest, table_rows(model)
        for name, part in self.declared.inputs.items():
            table, most = tables.get(name), largest[part]
            if table is None or most < table.rows:
                continue
            token = self.reader.token(most) if part == "ids" else None
            shown = f" ({token!r})" if token is not None else ""
            raise InputError(
                f"{self.where}: text.tokenizer: {self.declared.tokenizer} gives numbers up to {most}{shown} as {part}; the model's input "
                f"{name!r} looks them up in {table.table!r} (node {table.node!r}), which has {table.rows} rows: 0 to {table.rows - 1}.",
                hint="Is it the tokeniser of this model? Else give the table a row for every number.",
            )


def open_text_input(declared: TextDeclaration, path: Path) -> TextInput:
    """Open the tokeniser that a ``preprocess.toml`` names.

    Args:
        declared: What it says.
        path: Where it lies; the tokeniser's path begins at its folder.

    Raises:
        InputError: The file cannot be read or is no tokeniser that can be used, or its library is absent.
    """
    file = path.parent / declared.tokenizer
    where = f"{path}: text.tokenizer: {file}"
    try:
        data = read_regular_file(file, most_bytes=MAX_TOKENIZER_BYTES + 1)
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror or error}.") from error
    if len(data) > MAX_TOKENIZER_BYTES:
        raise InputError(f"{where}: expected at most {MAX_TOKENIZER_BYTES} bytes; this is some other file.")
    try:
        reader = TextReader(
            data,
            length=declared.length,
            inputs=declared.inputs,
            where=where,
            max_bytes=declared.max_bytes or MAX_TEXT_BYTES,
        )
        samples = tuple(_sample(reader, text) for text in _TEXTS)
    except (TokeniserError, FrameError) as error:
        message = error.args[0] if isinstance(error, TokeniserError) else f"{where}: {error.args[0]}"
        raise InputError(message, hint=error.hint) from error
    return TextInput(
        declared=declared,
        digest=digest_of(data),
        library_version=reader.library_version,
        where=str(path),
        tokenizer=data,
        reader=reader,
        samples=samples,
    )


def _sample(reader: TextReader, text: str) -> TextSample:
    numbers = reader.numbers(text)
    return TextSample(text=text, ids=numbers["ids"], mask=numbers.get("mask"), types=numbers.get("types"))
