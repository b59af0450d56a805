"""The command `edgewright`.

Layout:
    main.py        the parser, exit status, errors as one line
    convert.py     edgewright convert
    targets.py     edgewright targets list | show | new
    inspect.py     edgewright inspect
    telemetry.py   edgewright watch, edgewright report
    progress.py    progress bars
"""

from __future__ import annotations

from host_tools.cli.main import main

__all__ = ["main"]
