"""What `edgewright-agent check` and `diag` say of updates: the trust that was delivered, the state, the repository. Changes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ContractError, EdgewrightError, StorageError
from device_agent.update.child import ask_for, source_of
from device_agent.update.occurrences import Offered
from device_agent.update.state_file import read_state
from device_agent.update.updates import check_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.config import AgentConfig
    from device_agent.update.bootstrap import Bootstrap

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
    wanted = (
        f"wants {answer.release.name} {answer.release.version}"
        if isinstance(answer, Offered)
        else answer.reason.rstrip(".")
    )
    return {**found, "answer": f"can be trusted; {wanted}"}, None


def state_text(config: AgentConfig) -> str:
    """Say what runs by the state of updates, and what is on its way or was refused."""
    if config.update.directory is None:
        return "no update.directory"
    try:
        state = read_state(config.update.directory / "state.json")
    except (ContractError, StorageError) as error:
        return f"the state cannot be read: {error}"
    if state is None or state.active is None:
        return "the delivered artifact runs; there was no update yet"
    parts = [f"{state.active.name} {state.active.version}"]
    parts += ["on probation"] if state.probation is not None else ["known to be good"]
    if state.candidate is not None:
        parts.append(f"{state.candidate.release.name} {state.candidate.release.version} is on its way")
    if state.rejected:
        parts.append(f"{len(state.rejected)} refused, the last for {state.rejected[-1].reason}")
    return ", ".join(parts)
