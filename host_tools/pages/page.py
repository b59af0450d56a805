"""Render a template with the common style sheet."""

from __future__ import annotations

import math
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("host_tools.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, milliseconds=milliseconds, decibels=decibels, mebibytes=mebibytes
    )
    return environment


def render(template: str, **values: object) -> str:
    """Return the page. Every value is escaped but for charts, which are `markupsafe.Markup`."""
    return _environment().get_template(template).render(**values)


def percent(share: float | None) -> str:
    """Return a share as per cent with one decimal, or a dash."""
    return "–" if share is None else f"{100.0 * share:.1f} %"


def milliseconds(seconds: float | None) -> str:
    """Return seconds as milliseconds with two decimals, or a dash."""
    return "–" if seconds is None else f"{1000.0 * seconds:.2f} ms"


def decibels(value: float | None) -> str:
    """Return decibels with one decimal; None means that nothing differs."""
    if value is None:
        return "exact"
    return f"{value:.1f} dB" if math.isfinite(value) else "no signal"


def mebibytes(size_bytes: int) -> str:
    """Return bytes as MiB, or as KiB below one MiB."""
    return f"{size_bytes / 2**20:.2f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.1f} KiB"
