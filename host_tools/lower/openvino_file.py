"""OpenVINO models from ONNX and as bytes, both by way of temporary files; the same model gives the same bytes."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx_ir as ir

from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import LoweringError, ModelError, OutputError
from host_tools.model.export import serialize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


_COUNTED: Final = re.compile(r"(?:.*/)?[A-Za-z]+_\d+")
"""How OpenVINO names a node that nobody named, or a constant that came of folding one: type and counter, ``Reshape_115``."""


def read_float_network(model: ir.Model) -> Any:
    """Return a float graph as OpenVINO's ONNX reader gives it, an `openvino.Model`, with what the reader leaves of shapes folded.

    Weights go by way of a file that OpenVINO maps into memory. From one message they would be there four times at once (the message, its text,
    what is parsed of it, OpenVINO's constants), though most are replaced by codes without having been looked at.

    Args:
        model: The graph; its initializers are the same afterwards.

    Raises:
        LoweringError: OpenVINO cannot read the network.
        OutputError: There is no room for temporary files.
    """
    from openvino.passes import ConstantFolding, Manager  # noqa: PLC0415, TID251 - behind the import of ours, which is silent

    try:
        with _temporary_folder() as folder:
            network = _read(model, folder)
        manager = Manager()
        manager.register_pass(ConstantFolding())
        manager.run_passes(network)
    except RuntimeError as error:
        raise LoweringError(f"OpenVINO cannot read the float network: {str(error).strip()}") from error
    return network


def _read(model: ir.Model, folder: Path) -> Any:
    ir.save(model, folder / "float.onnx", external_data="float.weights")
    core = ov.Core()
    try:
        return core.read_model(folder / "float.onnx")
    except RuntimeError as unread:
        # 2026.4: operators that ONNX defines by a function of their attributes are read from a message alone.
        try:
            message = serialize(model)
        except ModelError:  # more than a message holds
            raise unread from None
        return core.read_model(message)


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
        with _temporary_folder() as folder:
            xml, weights = folder / "model.xml", folder / "model.bin"
            ov.serialize(network, str(xml), str(weights))
            return {"model.xml": xml.read_bytes(), "model.bin": weights.read_bytes()}
    except RuntimeError as error:
        if "iostream" in str(error):  # how C++ says that a file cannot be written
            raise _no_room(error) from error
        raise LoweringError(f"OpenVINO cannot serialize the model: {str(error).strip()}") from error


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Make a folder for the time being. One that a mapped file keeps from being removed (Windows) is left to the system."""
    try:
        with tempfile.TemporaryDirectory(prefix="edgewright-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: Exception) -> OutputError:
    return OutputError(f"Temporary files of OpenVINO: {error}.", hint="Free some space or set TMPDIR.")


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
