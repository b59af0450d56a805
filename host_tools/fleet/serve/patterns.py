"""The patterns of texts that may be asked for, and what each means in words: nobody who mistypes a name has to read a regular expression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

NAME: Final = r"^[A-Za-z0-9_-]{1,64}$"
NAME_OR_NONE: Final = r"^[A-Za-z0-9_-]{0,64}$"
RELEASE: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$"
VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,126}$"
MODEL: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,71}$"
PROFILE: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
DIGEST: Final = r"^sha256:[0-9a-f]{64}$"
TARGET_PATH: Final = r"^models/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/[A-Za-z0-9_-][A-Za-z0-9._+-]{0,199}$"
FILE: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"
TAG: Final = r"^[A-Za-z0-9_.:=/-]{1,64}$"
WORDS: Final = r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
"""No character that is a command to whatever shows it."""
HOLDER: Final = r"^[A-Za-z0-9_.@-]{1,64}$"
SHORT_ID: Final = r"^[0-9a-f]{12}$"
"""Of a token, and of a claim token: a part of its secret's digest."""
AFTER: Final = r"^[A-Za-z0-9_.+-]{0,200}$"
ACTOR: Final = r"^[A-Za-z0-9_.@ -]+$"
ACTION: Final = r"^[a-z_.]+$"
SUBJECT: Final = r"^[A-Za-z0-9_.+/-]+$"
EVENT_ID: Final = r"^[0-9]{0,15}$"

IN_WORDS: Final = {
    NAME: "1 to 64 letters, digits, _ and -",
    NAME_OR_NONE: "at most 64 letters, digits, _ and -",
    RELEASE: "1 to 200 letters, digits, ., _, + and -, a letter or digit first",
    VERSION: "1 to 127 letters, digits, ., _, + and -, a letter or digit first",
    MODEL: "1 to 72 letters, digits, ., _ and -, no dot first",
    PROFILE: "1 to 64 letters, digits, ., _ and -, no dot first",
    DIGEST: "sha256: and 64 digits from 0 to f, in lower case",
    TARGET_PATH: "models/MODEL/FILE, of letters, digits, ., _ and - (and + in the file's name), no dot first",
    FILE: "1 to 128 letters, digits, ., _ and -, no dot first",
    TAG: "1 to 64 letters, digits, _, ., :, =, / and -",
    WORDS: "text without control characters and marks of its direction",
    HOLDER: "1 to 64 letters, digits, _, ., @ and -",
    SHORT_ID: "12 digits from 0 to f, in lower case",
    AFTER: "`next` of the page before",
    ACTOR: "letters, digits, spaces, _, ., @ and -",
    ACTION: "lower case letters, _ and .",
    SUBJECT: "letters, digits, _, ., +, / and -",
    EVENT_ID: "at most 15 digits",
}


def expected_by(finding: ErrorDetails) -> str:
    """Return what a finding of pydantic expected: of a pattern its words, else ``""``, since its message says so already."""
    return IN_WORDS.get(finding.get("ctx", {}).get("pattern", ""), "")
