"""``python -m device_agent.enrolment FOLDER DEVICE``: renew once, and say as one JSON line how it went. The running agent's child."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from device_agent.contract.errors import EdgewrightError


def main(folder: str, device: str) -> int:
    """Renew; return 0 if the certificate was renewed."""
    error = ""
    try:
        from device_agent.enrolment.enrol import renew  # noqa: PLC0415  it may say that a package is missing

        renew(Path(folder), device=device)
    except EdgewrightError as refused:
        error = str(refused)
    print(json.dumps({"error": error}))
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
