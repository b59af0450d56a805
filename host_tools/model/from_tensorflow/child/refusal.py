"""`Refusal`: a model that is not converted, and what the user can do."""

from __future__ import annotations

from typing import Literal

Code = Literal["model", "unsupported_operator", "input"]


class Refusal(Exception):  # noqa: N818 - it is what the user is told, and no fault
    """Ends the child in good order.

    Attributes:
        message: What is wrong, without the file's name.
        hint: The next step.
        code: Which error it becomes in the converter's process.
    """

    def __init__(self, message: str, *, hint: str, code: Code = "model") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code: Code = code


def cause(error: BaseException) -> str:
    """Return what a library said, in one line."""
    _, _, deepest = str(error).rpartition(
        "Exception encountered: "
    )  # Keras puts the cause behind pages of configuration
    lines = [line.strip() for line in deepest.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:240]}" if lines else type(error).__name__
