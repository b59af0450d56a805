"""The tables of ``docs/agent.md`` that say what ``agent.toml`` may hold, made from `device_agent.config`.

``python -m tests.unit.device_agent.agent_reference`` writes them into the document; a test holds the two together.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal

from device_agent.config import SECTIONS, ModelSection
from device_agent.config.section import number_text

DOCUMENT = Path(__file__).parents[3] / "docs" / "agent.md"
BEGIN, END = "<!-- settings:begin -->\n", "<!-- settings:end -->\n"
_TYPES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path"}
_UNITS = {
    "_per_second": "per second",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_watts": "watts",
    "_celsius": "degrees Celsius",
    "_hz": "per second",
}


def tables() -> str:
    """Return one table a section."""
    parts = []
    for name, kind in SECTIONS.items():
        about, said = _described(kind)
        lines = [
            f"### [[{name}]]" if kind is ModelSection else f"### [{name}]",
            "",
            about,
            "",
            "| key | type | range | default | |",
            "|---|---|---|---|---|",
        ]
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            cells = (_type(field.name, hints[field.name]), _range(field), _default(field), said[field.name])
            lines.append(f"| `{field.name}` | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def with_tables(document: str) -> str:
    """Return the document with the tables of now between its marks."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + tables() + END + after


def _described(kind: type[Any]) -> tuple[str, dict[str, str]]:
    """Take apart a docstring: what the section is, and what each key is."""
    about, attributes = inspect.cleandoc(kind.__doc__ or "").split("\n\nAttributes:\n")
    said = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", attributes, re.MULTILINE)
    return about, {name: re.sub(r"\s+", " ", text).replace("``", "`") for name, text in said}


def _type(name: str, hint: Any) -> str:
    if dataclasses.is_dataclass(hint):
        return f"table `[model.{name}]`"
    if isinstance(hint, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is Literal:
        return " or ".join(f'`"{option}"`' for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "list of texts"
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    return _TYPES[hint] + (f", {unit}" if unit else "")


def _range(field: dataclasses.Field[Any]) -> str:
    bounds = field.metadata
    return f"{number_text(bounds['low'])} to {number_text(bounds['high'])}" if bounds else ""


def _default(field: dataclasses.Field[Any]) -> str:
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        return "as there"
    if default is dataclasses.MISSING:
        return "**required**"
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return "all of them"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{number_text(default)}`" if isinstance(default, int | float) else f'`"{default}"`'


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
