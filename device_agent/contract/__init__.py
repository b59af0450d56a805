"""What host and device promise each other. Standard library only; both sides import it, it imports neither.

Layout:

- `errors`: the root of every error, with stable codes
- `digest`: ``sha256:…`` over bytes as received
- `manifest`, `manifest_codec`: what an artifact is; its canonical JSON
- `sound`, `sound_codec`: how a recording becomes the input; part of the manifest
- `text`, `text_codec`: how a text becomes the inputs; likewise
- `preparation`: what a frame is: a picture, a recording or a text
- `archive`: the ``.ewa`` file: manifest first, every byte accounted for
- `telemetry`, `telemetry_codec`: what a device says; its flat JSON, by `telemetry_writing` and `telemetry_reading`,
  which has `envelope_reading` and `measurement_reading` below it; `telemetry_bounds` says how much a message may have
- `desired`: what a signed repository says a device shall run
- `units`: what the numbers mean
- `topics`: where it is said
- `document`, `fields`: JSON with bounds; one object read field by field
- `schema/`: the same rules as JSON Schema, for readers in other languages
"""

from device_agent.contract.errors import EdgewrightError
from device_agent.contract.manifest import Manifest

__all__ = ["EdgewrightError", "Manifest"]
