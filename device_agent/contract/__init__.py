"""What host and device promise each other. Standard library only; both sides import it, it imports neither.

Layout:

- `errors`: the root of every error, with stable codes
- `digest`: ``sha256:…`` over bytes as received
- `manifest`, `manifest_codec`: what an artifact is; its canonical JSON
- `sound`, `sound_codec`: how a recording becomes the input; part of the manifest
- `text`, `text_codec`: how a text becomes the inputs; likewise
- `preparation`: what a frame is: a picture, a recording or a text
- `heat_codec`: what an artifact declares about heat; likewise
- `archive`, `zip_layout`: the ``.ewa`` file: manifest first, every byte accounted for
- `telemetry/`: what a device says: its messages, their flat JSON, and what the numbers mean
- `topics`: where it is said
- `commands`: what a device is asked to do
- `desired`: what a signed repository says a device shall run
- `claim_token`, `enrolment`: how a device gets its certificate: what it begins with, and what is said
- `model_names`: what the models of a device are called in all of these
- `document`, `fields`: JSON with bounds; one object read field by field
- `regular_file`: files that are read, none of which may be a pipe
- `schema/`: the same rules as JSON Schema, for readers in other languages
"""

from device_agent.contract.errors import EdgewrightError
from device_agent.contract.manifest import Manifest

__all__ = ["EdgewrightError", "Manifest"]
