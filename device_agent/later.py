"""Modules of the standard library that others import and this program hardly ever uses: loaded when they are first used.

An agent shares a small device with its model: `urllib.request` (which paho imports, for proxies) and `inspect` (which
`dataclasses` imports, for classes without a docstring) are 2 MiB of 23. `importlib.util.LazyLoader` does not do: its modules are
loaded by the first `import` of them, which looks at their ``__spec__``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Final

_LATER: Final = ("difflib", "inspect", "urllib.request")


def import_later(*names: str) -> None:
    """Let modules be imported in name only, until something of them is asked for. Before anything imports them.

    Args:
        names: By default those of this file. No packages.
    """
    for name in names or _LATER:
        if name not in sys.modules:
            stand_in = sys.modules[name] = _StandIn(name)
            package, _, own = name.rpartition(".")
            if package:
                setattr(import_module(package), own, stand_in)


class _StandIn(ModuleType):
    """A module that becomes another when it is asked for what it has not."""

    def __getattr__(self, name: str) -> object:
        if name == "__path__":  # the import system asks every module whether it is a package
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        self.__dict__.update(module.__dict__)  # who holds this one asks only once
        return getattr(module, name)
