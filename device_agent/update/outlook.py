"""What `edgewright-agent check` and `diag` say of updates: the trust that was delivered, the state, the repository. Changes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ContractError, EdgewrightError, StorageError
from device_agent.update.child import ask_for
from device_agent.update.occurrences import Offered
from device_agent.update.state_file import read_state
from device_agent.update.updates import check_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.config import AgentConfig

_LONGEST_SILENCE_SECONDS: Final = 5.0


def outlook(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Return what is known of updates, and the error that would keep them from working; a server that is away is none.

    The repository is asked as the running agent asks it, from the bootstrap root on, in a folder that is removed.
    """
    url = config.update.url
    if url is None:
        return {}, None
    try:
        job = check_job(config)
        _require_writable(Path(job.cache))
        from device_agent.update.trust import read_root  # noqa: PLC0415  its package may be missing, which it says

        root = read_root(Path(job.root))
    except EdgewrightError as error:
        return {url: f"cannot be used: {error}"}, error
    found: dict[str, object] = {
        "root": f"version {root.version}, until {root.expires}",
        "here": state_text(config),
    }
    network = replace(job.network, stall_seconds=min(job.network.stall_seconds, _LONGEST_SILENCE_SECONDS))
    with tempfile.TemporaryDirectory() as cache:
        try:
            answer = ask_for(replace(job, network=network, cache=cache))
        except EdgewrightError as error:
            return {**found, url: f"no update could be had now: {error}"}, None
    wanted = (
        f"wants {answer.release.name} {answer.release.version}"
        if isinstance(answer, Offered)
        else answer.reason.rstrip(".")
    )
    return {**found, url: f"can be trusted; {wanted}"}, None


def _require_writable(folder: Path) -> None:
    """Ask whether files can be made where artifacts and metadata are to be kept; what is made for that is gone at once."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise StorageError(
            f"update.directory: {there}: cannot be written: {error.strerror or error}.",
            hint="Choose a folder that the agent may write.",
        ) from error


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
