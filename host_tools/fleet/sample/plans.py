"""The rollouts of the sample as TOML: quick ones, of a fleet of a handful, on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.errors import OutputError
from host_tools.fleet.sample.releases import MODEL

if TYPE_CHECKING:
    from host_tools.fleet.sample.folder import SampleFolder

GROUP: Final = "lab"
CANARIES: Final = 4
FIRST: Final = "first"
_FILES: Final = {FIRST: "1.0", "good": "2.0", "slow": "3.0"}
_HEAD: Final = """\
# {told} docs/rollouts.md says what else a plan can say.
id = "{id}"
release = "{release}"
group = "{group}"
"""
_FIRST: Final = """\
gate = []                     # there is nothing before it that it could be held against

[[stage]]
name = "all"
share = 1.0
soak_seconds = 0.0
"""
_GATED: Final = """\

[[stage]]
name = "canary"
share = 0.0
devices = {canaries}
soak_seconds = 10.0

[[stage]]
name = "all"
share = 1.0
soak_seconds = 2.0

[[gate]]
measure = "latency_p50"
worst = 0.2                   # at most 20 % slower than what the same device ran before
confidence = 0.95             # of so few devices 0.99 asks for much
least_devices = {count}
required = true               # no stage passes before it is decided
"""
_TOLD: Final = {
    FIRST: "What the devices were delivered with, so that there is something to go back to.",
    "good": "A better release: its gate passes, and all get it.",
    "slow": "A release that is much slower: its gate stops it at the canaries, and takes it back.",
}


def write_plans(folder: SampleFolder) -> None:
    """Write the plans that are not there; one that somebody has changed stays.

    Raises:
        OutputError: They cannot be written.
    """
    canaries = list(folder.names[:CANARIES])
    for name, version in _FILES.items():
        head = _HEAD.format(told=_TOLD[name], id=name, release=f"{MODEL}-{version}", group=GROUP)
        body = (
            _FIRST
            if name == FIRST
            else _GATED.format(canaries=str(canaries).replace("'", '"'), count=CANARIES)
        )
        path = folder.path / f"{name}.toml"
        try:
            if not path.exists():
                path.write_text(head + body, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}.") from error
