"""`Finding`: one broken rule, with what was found, what the target allows, and which fact with which source says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from targets.document import thawed

if TYPE_CHECKING:
    from targets.profile import CapabilityProfile

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """What a rule found.

    Attributes:
        where: Operator or tensor, as the file names it.
        got: What the file has.
        allowed: What the target takes.
        fact: Dotted key of the profile's fact, or of the table it would stand in.
    """

    where: str
    got: str
    allowed: str
    fact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken rule.

    Attributes:
        rule: The rule's id, a key of `host_tools.lint.rules.SEVERITIES`.
        severity: An ``error`` will not run as promised on the target; a ``warning`` is worth a look.
        where: Operator or tensor, as the file names it.
        got: What the file has.
        allowed: What the target takes.
        fact: Dotted key of the profile's fact.
        value: The fact as the profile has it, as JSON; empty when the profile says nothing of the kind.
        source: Where the profile has the fact from.
    """

    rule: str
    severity: Severity
    where: str
    got: str
    allowed: str
    fact: str
    value: str
    source: str


def finding(rule: str, severity: Severity, breach: Breach, profile: CapabilityProfile) -> Finding:
    """Return a breach as a finding, with the profile's fact looked up."""
    facts = {fact.key: fact for fact in profile.facts}
    fact = facts.get(breach.fact)
    return Finding(
        rule=rule,
        severity=severity,
        where=breach.where,
        got=breach.got,
        allowed=breach.allowed,
        fact=breach.fact,
        value="" if fact is None else json.dumps(thawed(fact.value), ensure_ascii=False),
        source=f"{profile.id} says nothing of it" if fact is None else fact.source,
    )


def listed_fact(profile: CapabilityProfile, table: str, entry: object) -> str:
    """Return the key of the fact in ``table`` (``same_scale``, ``fusions``) whose list has ``entry``; the table itself when none has."""
    for fact in profile.facts:
        if fact.key.startswith(f"{table}.") and isinstance(fact.value, tuple) and entry in fact.value:
            return fact.key
    return table
