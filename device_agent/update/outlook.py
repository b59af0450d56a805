"""What `edgewright-agent check` and `diag` say of updates: the trust that was delivered, the state, the repository. Changes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ContractError, EdgewrightError, StorageError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update.child import ask_for, source_of
from device_agent.update.occurrences import Wanted
from device_agent.update.report import outcome_text
from device_agent.update.settings import check_job, updated_models
from device_agent.update.state import UNTOUCHED
from device_agent.update.state_file import read_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.config import AgentConfig
    from device_agent.update.bootstrap import Bootstrap
    from device_agent.update.state import Standing

_LONGEST_SILENCE_SECONDS: Final = 5.0


def outlook(config: AgentConfig, bootstrap: Bootstrap) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Return what is known of updates, and the error that would keep them from working; a server that is away is none.

    The repository is asked as the running agent asks it, from the bootstrap root on, in a folder that is removed.
    """
    job = check_job(config, bootstrap)
    found: dict[str, object] = {"here": state_text(config)}
    try:
        from device_agent.update.trust import read_root  # noqa: PLC0415  its package may be missing, which it says

        found["root valid until"] = str(read_root(bootstrap.root).expires)
    except EdgewrightError as error:
        return {**found, "refused": str(error)}, error
    try:
        source_of(job.network)
    except EdgewrightError as error:  # `run` would go on, and no check would ever end well
        return {**found, "tls": str(error)}, error
    network = replace(job.network, stall_seconds=min(job.network.stall_seconds, _LONGEST_SILENCE_SECONDS))
    with tempfile.TemporaryDirectory() as cache:
        try:
            answer = ask_for(replace(job, network=network, cache=cache))
        except EdgewrightError as error:
            return {**found, "answer": f"no update could be had now: {error}"}, None
    answers = answer.answers if isinstance(answer, Wanted) else (answer,)
    wanted = "; ".join(outcome_text(one).rstrip(".") for one in answers)
    return {**found, "answer": f"can be trusted; {wanted}"}, None


def state_text(config: AgentConfig) -> str:
    """Say what runs by the state of updates, and what is on its way or was refused; of each model that is updated."""
    if config.update.directory is None:
        return "no update.directory"
    try:
        state = read_state(config.update.directory / "state.json")
    except (ContractError, StorageError) as error:
        return f"the state cannot be read: {error}"
    models = updated_models(config)
    texts = {name: _standing_text(UNTOUCHED if state is None else state.of(name)) for name in models}
    if len(models) == 1:
        return texts[MAIN_MODEL]
    return "; ".join(f"{name}: {text}" for name, text in texts.items())


def _standing_text(standing: Standing) -> str:
    if standing.active is None:
        return "the delivered artifact runs; there was no update yet"
    parts = [f"{standing.active.name} {standing.active.version}"]
    parts += ["on probation"] if standing.probation is not None else ["known to be good"]
    if standing.candidate is not None:
        parts.append(f"{standing.candidate.release.name} {standing.candidate.release.version} is on its way")
    if standing.rejected:
        parts.append(f"{len(standing.rejected)} refused, the last for {standing.rejected[-1].reason}")
    return ", ".join(parts)
