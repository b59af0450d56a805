"""Whether this machine makes the same input of a frame that the host did, before the first one comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError, SelfTestError
from device_agent.contract.preparation import preparation_of
from device_agent.contract.sound import Sound
from device_agent.contract.text import Text
from device_agent.sources.artifact_text import open_text

if TYPE_CHECKING:
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.sound import SoundProof


def require_same_preparation(archive: ArtifactArchive) -> None:
    """Prepare what an artifact of sound or texts brings for this, and hold the inputs that come out against the host's, to the last bit.

    Raises:
        SelfTestError: They are others, or cannot be made here.
        ContractError: The tokeniser that it brings is none.
        TrustError: A member is not what the manifest says.
    """
    declared = preparation_of(archive.manifest)
    if isinstance(declared, Text):
        open_text(archive, declared)  # which reads its texts
    elif isinstance(declared, Sound) and declared.proof is not None:
        _require_same_sound(archive, declared, declared.proof)


def _require_same_sound(archive: ArtifactArchive, sound: Sound, proof: SoundProof) -> None:
    recording, expected = archive.read(proof.recording), archive.read(proof.expected)
    try:
        from device_agent.sources.sound.proof import require_same_input  # noqa: PLC0415  it needs numpy

        require_same_input(recording, expected, sound)
    except ModuleNotFoundError as error:  # NumPy comes with an engine's library; the null engine has none
        raise SelfTestError(
            f"recordings are prepared with {error.name}, which is not installed.",
            hint=f"pip install {error.name}",
        ) from error
    except SelfTestError:
        raise
    except DeviceError as error:
        raise SelfTestError(
            f"the artifact's own recording cannot be prepared: {error.args[0]}", hint=error.hint
        ) from error
