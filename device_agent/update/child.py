"""The child process of one step: ``python -m device_agent.update PID``, with the parent's.

Its memory goes back with it; what kills it kills only it. A check goes without ``cryptography`` where Ed25519 alone does;
where signatures are missing then, it begins anew with the library, for a new key may be of another type.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from device_agent.contract.errors import DigestMismatchError, EdgewrightError
from device_agent.update.jobs import CheckJob, FetchJob, TrialJob, decode_job, encode
from device_agent.update.occurrences import (
    CheckFailed,
    Fetched,
    FetchFailed,
    NothingDesired,
    Offered,
    TrialFailed,
    Wanted,
)

if TYPE_CHECKING:
    from device_agent.update.jobs import Answer, Job, Network
    from device_agent.update.transfer import HttpSource

YIELDING_NICENESS: Final = 19
INSISTING_NICENESS: Final = 5
"""A quarter of a processor that is busy otherwise, by the scheduler's weights (335 beside 1024); 19 is a seventieth."""
_PR_SET_PDEATHSIG: Final = 1
"""Source: prctl(2)."""
_RATE_WINDOW_SECONDS: Final = 30.0
_MODULE: Final = "device_agent.update"
_WITH_CRYPTOGRAPHY: Final = "--with-cryptography"
"""As securesystemslib knows it: for keys other than Ed25519."""
_UNSIGNED: Final = "metadata_unsigned"


_INSISTING: Final = "--insisting"
"""It takes a share of a processor that never rests."""


def command(*, with_cryptography: bool = False, is_insisting: bool = False) -> tuple[str, ...]:
    """Return the command of a child process; the parent's number is to follow.

    Without ``site``, whose ``.pth`` files may import much: where packages are, `environment` says.
    """
    flags = (
        *((_WITH_CRYPTOGRAPHY,) if with_cryptography else ()),
        *((_INSISTING,) if is_insisting else ()),
    )
    return (sys.executable, "-S", "-X", "no_debug_ranges", "-m", _MODULE, *flags)


def environment() -> dict[str, str]:
    """Return a child process's environment: it finds packages where this process does."""
    ours = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys((ours, *filter(None, sys.path))))}


def main() -> int:
    """Read one job, do it, answer."""
    with _own_answers() as answers:
        parent = int(sys.argv[-1])
        _die_with_parent(parent)
        if _WITH_CRYPTOGRAPHY not in sys.argv:  # what began anew has its niceness
            os.nice(INSISTING_NICENESS if _INSISTING in sys.argv else YIELDING_NICENESS)
        line = sys.stdin.buffer.readline()
        job = decode_job(line)
        is_light = isinstance(job, CheckJob) and _import_little(job)
        answer = do(job, frames=sys.stdin.buffer, answers=answers)
        if is_light and isinstance(answer, CheckFailed) and answer.code == _UNSIGNED:
            _begin_anew(line, answers, parent)
        answers.write(encode(answer))
    return 0


def _import_little(job: CheckJob) -> bool:
    """Leave out what keys other than Ed25519 need, where a check has none; return whether it was left out."""
    from device_agent.update import light  # noqa: PLC0415  only for a check

    if _WITH_CRYPTOGRAPHY in sys.argv or not light.has_only_ed25519(Path(job.root)):
        return False
    light.leave_out_cryptography()
    return True


def _begin_anew(line: bytes, answers: BinaryIO, parent: int) -> None:
    """Become a process that has ``cryptography``, with the same job: what is imported cannot be imported otherwise."""
    read, write = os.pipe()
    os.write(write, line)  # a pipe holds more than any check's line
    os.close(write)
    os.dup2(read, 0)
    os.dup2(answers.fileno(), 1)
    anew = command(with_cryptography=True, is_insisting=_INSISTING in sys.argv)
    os.execve(sys.executable, (*anew, str(parent)), environment())  # noqa: S606  our own interpreter and module, no shell


def do(job: Job, *, frames: BinaryIO, answers: BinaryIO) -> Answer:
    """Do a job.

    Args:
        job: What to do.
        frames: Where frames of a shadow run come from.
        answers: Where it is said that a frame was taken.
    """
    try:
        if isinstance(job, CheckJob):
            return ask_for(job)
        if isinstance(job, FetchJob):
            return _fetch(job)
        return _trial(job, frames, answers)
    except EdgewrightError as error:
        return _failed(job, error.code, str(error), mismatch=isinstance(error, DigestMismatchError))
    except MemoryError:
        return _failed(job, "memory", "the memory that it may take does not do.")
    # The process's last door: whatever is wrong is said.
    except Exception as error:  # noqa: BLE001
        return _failed(job, "unexpected", f"{type(error).__name__}: {error}")


def _failed(job: Job, code: str, message: str, *, mismatch: bool = False) -> Answer:
    if isinstance(job, CheckJob):
        return CheckFailed(code=code, message=message)
    if isinstance(job, FetchJob):
        return FetchFailed(code=code, message=message, mismatch=mismatch)
    return TrialFailed(code=code, message=message)


def ask_for(job: CheckJob) -> Offered | NothingDesired | Wanted:
    """Ask what is desired.

    Raises:
        EdgewrightError: As `trust.ask`; or the bootstrap root cannot be used.
    """
    from device_agent.update.trust import Asker, ask, read_root  # noqa: PLC0415  python-tuf, only here

    root = Path(job.root)
    read_root(root)

    asker = Asker(
        url=job.network.url,
        root=root.read_bytes(),
        cache=Path(job.cache),
        subjects=tuple(job.subjects),
        device=job.device,
        targets=tuple(job.targets),
        models=tuple(job.models),
        split=tuple(job.split),
    )
    return ask(asker, source_of(job.network))


def _fetch(job: FetchJob) -> Answer:
    from device_agent.update.store import Store  # noqa: PLC0415
    from device_agent.update.transfer import fetch_artifact  # noqa: PLC0415

    fetch_artifact(source_of(job.network), Store(Path(job.store)), job.candidate, base_url=job.network.url)
    return Fetched()


def _trial(job: TrialJob, frames: BinaryIO, answers: BinaryIO) -> Answer:
    from device_agent.update.trial import run_trial  # noqa: PLC0415  numpy and engines, only here

    return run_trial(job, frames=frames, answers=answers)


def limit_memory_and_time(job: TrialJob) -> None:
    """Bound this process: address space, processor time, no core dump."""
    for what, most in (
        (resource.RLIMIT_AS, job.memory_max_bytes),
        (resource.RLIMIT_CPU, job.cpu_max_seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def source_of(network: Network) -> HttpSource:
    """Return the way to a repository.

    Raises:
        ConfigError: A TLS file cannot be used.
    """
    from device_agent.tls import TlsFiles  # noqa: PLC0415
    from device_agent.update.transfer import HttpSource, TransferLimits  # noqa: PLC0415

    limits = TransferLimits(
        stall_seconds=network.stall_seconds,
        min_bytes_per_second=network.min_bytes_per_second,
        rate_window_seconds=_RATE_WINDOW_SECONDS,
    )
    if network.tls_ca is None:
        return HttpSource(limits, None)
    cert, key = (None if one is None else Path(one) for one in (network.tls_cert, network.tls_key))
    return HttpSource(limits, TlsFiles(ca=Path(network.tls_ca), cert=cert, key=key))


def _own_answers() -> BinaryIO:
    """Keep standard output for answers; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if (
        os.getppid() != parent
    ):  # it went before we asked; 1 would not do, for in a container that is the agent
        os._exit(1)
