"""Profiles as text for people and as plain data for programs. Pure: strings and dicts in and out, no printing.

Not the catalogue's reader: that is `catalog`.
"""

from __future__ import annotations

import json
import string
from types import MappingProxyType
from typing import TYPE_CHECKING

from targets import catalog
from targets.document import thawed
from targets.errors import ProfileError
from targets.profile import UNCALIBRATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from targets.profile import ActivationRules, CapabilityProfile, Proof, UncalibratedRules

TABLE_BEGIN = "<!-- targets:begin -->"
TABLE_END = "<!-- targets:end -->"
LONGEST_VALUE = 96
"""Columns of a value in `render` before it is broken into lines."""

_HEADINGS = (
    "id", "for", "proof", "facts run", "format", "weights", "activations", "scale", "biases", "rounds", "engine", "beside it",
)  # fmt: skip
_PROVEN: Mapping[Proof, str] = MappingProxyType(
    {
        "engine": "running the engine",
        "vendor_tool": "the vendor's own tool",
        "document": "documents only; the file runs on a stand-in",
    }
)
_TEMPLATE_COMMENT = string.Template(
    """\
# A target of your own. It loads as it stands: every fact is copied from $based_on
# (`edgewright targets show $based_on` prints them with their sources). Put below only what differs.
#
# 1. Every fact names where it is from, as a key of [sources]: a document with its section, or the run that showed it.
# 2. `edgewright targets show PATH` prints the resolved profile; an error names file and key.
# 3. Set `proof` to what stands behind your facts: "engine" (run), "vendor_tool", or "document".
"""
)
_TEMPLATE_EXAMPLES = """\

# [sources]
# datasheet = "https://example.com/npu-guide.pdf, section 4.2; documented, not run"
#
# [weights]
# narrow_range = { is = true, source = "datasheet" }
# per_channel_ops = { is = ["Conv"], source = "datasheet" }
#
# [activations]
# signed = { is = true, source = "datasheet" }
# zero_point = { is = "symmetric", source = "datasheet" }     # or "midpoint", "asymmetric"
#
# [scale]
# kind = { is = "power_of_two", source = "datasheet" }        # or "float32"
#
# [op_groups.npu]                                             # the same facts for several operators
# ops = ["Conv", "Gemm", "Add"]
# precisions = ["int8", "float32"]                            # best first; [] forbids an operator
# source = "datasheet"
#
# [ops.Conv]                                                  # one operator; wins over its group
# max_stride = { is = 3, source = "datasheet" }
# requantization_ratio = { is = "none", source = "datasheet" }
#
# [wide]                                                      # operators that also run on 16-bit activations
# ops = { is = ["Conv", "Add"], source = "datasheet" }
# signed = { is = true, source = "datasheet" }
# zero_point = { is = "symmetric", source = "datasheet" }
# bias_bits = { is = 64, source = "datasheet" }               # or 40, 32
# accumulator_bits = { is = 64, source = "datasheet" }
#
# [weights-int4]                                              # or weights-int8, int8-dynamic: what needs no calibration
# ops = { is = ["MatMul", "Gemm"], source = "datasheet" }
# symmetric = { is = true, source = "datasheet" }
# groups = { is = [32, 128], source = "datasheet" }           # weights on one scale, best first; 0: a whole channel
#
# [weights-float16]                                           # weights of which operators may be stored in float16; so weights-kmeans4
# ops = { is = ["Conv", "MatMul", "Gemm"], source = "datasheet" }
#
# [cost]                                                      # time of an operation; on 8-bit activations it is 1
# int16 = { is = 2.0, source = "datasheet" }
# float32 = { is = 10.0, source = "datasheet" }
#
# [fallback]
# to = { is = "refuse", source = "datasheet" }                # or "float32"
"""


def render_list(profiles: Iterable[CapabilityProfile] | None = None) -> str:
    """Name every target in one aligned line: id, format, proof, title. ``None`` means the whole catalogue."""
    rows = [(p.id, p.artifact.format, p.proof, p.title) for p in _or_catalogue(profiles)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return "".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]) + "\n"
        for row in rows
    )


def list_data(profiles: Iterable[CapabilityProfile] | None = None) -> list[dict[str, object]]:
    """Give `render_list` as JSON-able data."""
    return [
        {"id": p.id, "format": p.artifact.format, "proof": p.proof, "title": p.title, "digest": p.digest}
        for p in _or_catalogue(profiles)
    ]


def render(profile: CapabilityProfile) -> str:
    """Print a profile in full: every fact, inherited ones included, each with its source below it."""
    lines = [f"{profile.id}: {profile.title}", f"proof {profile.proof}, {profile.digest}", ""]
    for fact in profile.facts:
        value = json.dumps(thawed(fact.value), ensure_ascii=False)
        lines += _broken(f"{fact.key} = ", value)
        lines.append(f"    {fact.source}")
    return "\n".join(lines) + "\n"


def data(profile: CapabilityProfile) -> dict[str, object]:
    """Give `render` as JSON-able data: facts as written, in file order."""
    return {
        "id": profile.id,
        "title": profile.title,
        "proof": profile.proof,
        "digest": profile.digest,
        "facts": [
            {"key": fact.key, "value": thawed(fact.value), "source": fact.source} for fact in profile.facts
        ],
    }


def overview_table(profiles: Iterable[CapabilityProfile] | None = None) -> str:
    """Give the README's short table as Markdown: the targets by format and by what their facts are proven by."""
    groups: dict[tuple[Proof, str], list[str]] = {}
    for profile in _or_catalogue(profiles):
        groups.setdefault((profile.proof, profile.artifact.format), []).append(f"`{profile.id}`")
    rows = [
        (_PROVEN[proof], form, ", ".join(groups[proof, form]))
        for proof in _PROVEN
        for form in sorted({form for _, form in groups})
        if (proof, form) in groups
    ]
    return _markdown(("proven by", "format", "targets"), rows)


def support_table(profiles: Iterable[CapabilityProfile] | None = None) -> str:
    """Give the full table of targets as Markdown, a row a target."""
    return _markdown(_HEADINGS, [_row(profile) for profile in _or_catalogue(profiles)])


def precision_table(profiles: Iterable[CapabilityProfile] | None = None) -> str:
    """Give the table of precisions that need no calibration as Markdown: a row a target that has any, its operators and group sizes."""
    having = [profile for profile in _or_catalogue(profiles) if profile.uncalibrated]
    return _markdown(
        ("target", *UNCALIBRATED),
        [
            (f"`{one.id}`", *(_uncalibrated(one.uncalibrated.get(kind)) for kind in UNCALIBRATED))
            for one in having
        ],
    )


def _uncalibrated(rules: UncalibratedRules | None) -> str:
    if rules is None:
        return ""
    parts = [", ".join(sorted(rules.ops))]
    if rules.groups:
        sizes = ", ".join("channel" if size == 0 else str(size) for size in rules.groups)
        parts += ["symmetric" if rules.symmetric else "asymmetric", f"a scale each {sizes}"]
    parts += [f"{library} ≥ {version}" for library, version in rules.min_versions.items()]
    return "; ".join(parts)


def template(identity: str, based_on: str) -> str:
    """Write the TOML that ``edgewright targets new`` leaves behind: it loads as it is, and says how to go on.

    Args:
        identity: The new target's id: lower case letters, digits, hyphens and underscores.
        based_on: Id of the catalogue profile whose facts it starts from.

    Raises:
        ProfileError: ``identity`` is not an id or is taken; ``based_on`` is not in the catalogue.
    """
    if identity in catalog.ids():
        raise ProfileError(f"{identity!r} is a target of the catalogue.", hint="Choose another id for yours.")
    head = (
        f'id = "{identity}"\ntitle = "Describe the device and its engine in one line"\nproof = "document"\n'
    )
    text = (
        _TEMPLATE_COMMENT.substitute(based_on=based_on)
        + head
        + f'based_on = "{based_on}"\n'
        + _TEMPLATE_EXAMPLES
    )
    catalog.parse(text, origin=f"{identity}.toml")
    return text


def with_table(text: str, table: str) -> str:
    """Return a document with what is between its markers replaced by ``table``; equal to ``text`` when it was current.

    Args:
        text: The document: the README with `overview_table`, ``docs/targets.md`` with `support_table`, ``docs/precisions.md`` with
            `precision_table`.
        table: Markdown.

    Raises:
        ProfileError: The markers are missing, doubled or in the wrong order.
    """
    if (
        text.count(TABLE_BEGIN) != 1
        or text.count(TABLE_END) != 1
        or text.index(TABLE_BEGIN) > text.index(TABLE_END)
    ):
        raise ProfileError(
            f"document: expected {TABLE_BEGIN} and then {TABLE_END}, once each",
            hint="Put the two markers where the table of targets belongs.",
        )
    before, rest = text.split(TABLE_BEGIN)
    return f"{before}{TABLE_BEGIN}\n{table}{TABLE_END}{rest.split(TABLE_END)[1]}"


def _or_catalogue(profiles: Iterable[CapabilityProfile] | None) -> list[CapabilityProfile]:
    return [catalog.load(name) for name in catalog.ids()] if profiles is None else list(profiles)


def _markdown(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = (headings, tuple("---" for _ in headings), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(profile: CapabilityProfile) -> tuple[str, ...]:
    weights, activations = profile.weights, profile.activations
    per_channel = ", ".join(sorted(weights.per_channel_ops))
    run = sum(fact.source.startswith("run:") or "; run:" in fact.source for fact in profile.facts)
    return (
        f"`{profile.id}`",
        profile.title,
        profile.proof.replace("_", " "),
        f"{run} of {len(profile.facts)}" if profile.proof != "document" else "none",
        profile.artifact.format,
        f"{_type(weights.bits, signed=weights.signed)} {'symmetric' if weights.symmetric else 'asymmetric'} "
        + (f"per channel ({per_channel})" if per_channel else "per tensor"),
        _activations(activations) + (f", {_activations(profile.wide.activations)}" if profile.wide else ""),
        profile.scale.kind.replace("_", " "),
        _type(profile.bias.bits, signed=True) if profile.bias.quantized else "float32",
        profile.rounding.requantization.replace("_", " "),
        " or ".join(f"{library} ≥ {version}" for library, version in profile.engine.min_versions.items()),
        ", ".join(profile.artifact.sidecars),
    )


def _activations(rules: ActivationRules) -> str:
    return f"{_type(rules.bits, signed=rules.signed)} {rules.zero_point}"


def _type(bits: int, *, signed: bool) -> str:
    return f"{'' if signed else 'u'}int{bits}"


def _broken(head: str, value: str) -> list[str]:
    """Break ``value`` at its commas, so that no line is much longer than `LONGEST_VALUE` columns."""
    lines = [head]
    for piece in value.replace(", ", ", \n").split("\n"):
        if len(lines[-1]) + len(piece.rstrip()) > LONGEST_VALUE and lines[-1].strip():
            lines[-1] = lines[-1].rstrip()
            lines.append("        ")
        lines[-1] += piece
    return lines
