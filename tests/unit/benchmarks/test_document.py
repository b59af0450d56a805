"""What the measured document says, and what it does not."""

from benchmarks.document import _without_folders


def test_the_document_does_not_say_where_on_a_machine_things_are() -> None:
    command = "python -m benchmarks --data /home/me/pictures/imagenet_cc --json out/bench.json"
    assert _without_folders(command) == "python -m benchmarks --data …/imagenet_cc --json out/bench.json"
