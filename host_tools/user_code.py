"""Functions of the user's own, named on the command line as ``module:function``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


class WrongSpecError(ValueError):
    """A text that is not ``module:function``."""


def load_function(spec: str) -> object:
    """Import ``module:function``; the module may lie in the current folder, as it may for ``python -m``.

    Returns:
        Whatever bears the name; that it can be called is for the caller to check.

    Raises:
        WrongSpecError: The text is not ``module:function``.
        Exception: Whatever importing the module raises, `SystemExit` too; `AttributeError` when it has no such name.
    """
    module_name, separator, function_name = spec.partition(":")
    if not (module_name and separator and function_name):
        raise WrongSpecError(f"expected module:function, got {spec!r}")
    here = str(Path.cwd())
    if here not in sys.path:  # an installed command starts with the folder of the command itself
        sys.path.insert(0, here)
    found: object = getattr(import_module(module_name), function_name)
    return found
