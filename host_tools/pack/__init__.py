"""Pack a verified payload into an artifact.

Layout:
    artifact.py       `pack`: manifest and members, the same bytes for the same input
    preparation.py    what an artifact declares of its frames, and the members that this needs
    heat_file.py      what it declares about heat
    sound_proof.py    the recording that shows whether a device hears the same
    text_member.py    the tokeniser that travels with a model of texts
    null_artifact.py  an artifact that needs no inference library
"""
