"""Write an OpenVINO model as bytes: the same model gives the same bytes."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import LoweringError, OutputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


_COUNTED: Final = re.compile(r"(?:.*/)?[A-Za-z]+_\d+")
"""How OpenVINO names a node that nobody named, or a constant that came of folding one: type and counter, ``Reshape_115``."""


def ir_files(network: Any, *, own_names: Collection[str]) -> Mapping[str, bytes]:
    """Return ``model.xml`` and ``model.bin``.

    Args:
        network: An `openvino.Model`; its unnamed nodes get names.
        own_names: Names of nodes and values of the float model, which stay even if they look like OpenVINO's.

    Raises:
        LoweringError: OpenVINO cannot serialize the model.
        OutputError: There is no room for temporary files.
    """
    _name_nodes(network, own_names)
    try:
        with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
            xml, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
            ov.serialize(network, str(xml), str(weights))
            return {"model.xml": xml.read_bytes(), "model.bin": weights.read_bytes()}
    except OSError as error:
        raise OutputError(
            f"Temporary files of OpenVINO: {error}.", hint="Free some space or set TMPDIR."
        ) from error
    except RuntimeError as error:
        if "iostream" in str(error):  # how C++ says that a file cannot be written
            raise OutputError(
                f"Temporary files of OpenVINO: {error}.", hint="Free some space or set TMPDIR."
            ) from error
        raise LoweringError(f"OpenVINO cannot serialize the model: {str(error).strip()}") from error


def _name_nodes(network: Any, own_names: Collection[str]) -> None:
    """Name what OpenVINO named after a counter of the whole process, which would make every file another one."""
    network.set_friendly_name("model")
    nodes = network.get_ordered_ops()
    taken = {node.get_friendly_name() for node in nodes}
    counts: Counter[str] = Counter()
    for node in nodes:
        name = node.get_friendly_name()
        if name in own_names or not _COUNTED.fullmatch(name):
            continue
        kind = node.get_type_name()
        while (name := f"{kind}/{counts[kind]}") in taken:
            counts[kind] += 1
        taken.add(name)
        node.set_friendly_name(name)
