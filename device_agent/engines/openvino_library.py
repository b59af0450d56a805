"""OpenVINO's Python package, imported without its telemetry: everything of ours that uses OpenVINO takes it from here.

The mere ``import openvino`` sends an event to Google Analytics, from a forked child, unless the user has declined it in a file in
the home directory. A device does not call home behind its owner's back. OpenVINO has a stand-in of its own for the case that the
package ``openvino_telemetry`` is not installed; for the time of the import it is made to look so.

Source: OpenVINO 2026.4, ``openvino/tools/ovc/__init__.py`` (the event) and ``telemetry_utils.py`` (the stand-in).
"""

from __future__ import annotations

import sys

_TELEMETRY = "openvino_telemetry"

_there_before = sys.modules.pop(_TELEMETRY, None)
sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # what makes an import say that there is no such module
try:
    import openvino as openvino  # noqa: PLC0414 - re-exported, with its types
finally:
    del sys.modules[_TELEMETRY]
    if _there_before is not None:
        sys.modules[_TELEMETRY] = _there_before
