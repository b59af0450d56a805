"""Why something of a repository is not trusted; the code of each is the reason that is told."""

from __future__ import annotations

from device_agent.contract.errors import TrustError


class MetadataExpiredError(TrustError):
    """Nobody has signed anew in time: the repository is not kept, or somebody holds new metadata back."""

    code = "metadata_expired"


class MetadataReplayedError(TrustError):
    """Older metadata came than were here before."""

    code = "metadata_replayed"


class MetadataMismatchError(TrustError):
    """Files of different states of the repository, or changed ones."""

    code = "metadata_mismatch"


class MetadataUnsignedError(TrustError):
    """Too few of the keys that must sign have signed."""

    code = "metadata_unsigned"


class OversizedError(TrustError):
    """Metadata are larger than they may be."""

    code = "metadata_oversized"


class WrongTargetError(TrustError):
    """What is desired is not for this device."""

    code = "wrong_target"


class DisagreementError(TrustError):
    """The desired state and the signed artifacts do not agree."""

    code = "desired_disagrees"
