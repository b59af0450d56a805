"""Find data files inside installed Python packages without importing the packages.

Both packages of this example would import more than is installed (PyTorch, eagerpy); only their files are
wanted.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from examples.efficientnet_lite.errors import MissingPackageError


def files_of(requirement: str, pattern: str) -> tuple[Path, ...]:
    """Return the files of an installed package whose recorded path matches, sorted by that path.

    Args:
        requirement: What to install, pinned: ``"foolbox==3.3.4"``. Another installed version is accepted: the
            caller checks content.
        pattern: Regular expression for the whole path inside the package, with ``/`` between parts.

    Returns:
        At least one existing file.

    Raises:
        MissingPackageError: The package is not installed, or has no such file; the message has the ``pip``
            command.
    """
    name = requirement.partition("==")[0]
    hint = f"Run: python -m pip install --no-deps {requirement}"
    try:
        installed = distribution(name)
    except PackageNotFoundError as error:
        raise MissingPackageError(f"Package {name!r} is not installed.", hint=hint) from error
    recorded = sorted(installed.files or (), key=str)
    matching = (Path(str(file.locate())) for file in recorded if re.fullmatch(pattern, file.as_posix()))
    found = tuple(path for path in matching if path.is_file())
    if not found:
        raise MissingPackageError(
            f"Package {name!r} {installed.version}: has no file that matches {pattern!r}.",
            hint=hint.replace("install", "install --force-reinstall"),
        )
    return found
