"""Pack a verified payload into an artifact.

Layout:
    artifact.py       `pack`: manifest and members, the same bytes for the same input
    sound_proof.py    the recording that shows whether a device hears the same
    null_artifact.py  an artifact that needs no inference library
"""
