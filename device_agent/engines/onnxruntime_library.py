"""ONNX Runtime's Python package, imported without its telemetry: everything of ours that uses ONNX Runtime takes it from here.

From release 1.29 on the mere ``import onnxruntime`` of the wheels for Linux writes a device identifier into the home directory and
sends events to Microsoft, among them the names and hashes of models. A variable of the environment, read once at import, turns all of
it off; it is put back as it was behind the import. A device does not call home behind its owner's back.

Source: microsoft/onnxruntime pull requests 27379 (``ORT_DISABLE_TELEMETRY``) and 29843 (``ORT_TELEMETRY_DISABLED``, its other name);
run with 1.32.0: no identifier, no events.
"""

from __future__ import annotations

import os

_OPT_OUT = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")

_there_before = {name: os.environ.get(name) for name in _OPT_OUT}
os.environ.update(dict.fromkeys(_OPT_OUT, "1"))
try:
    import onnxruntime as onnxruntime  # noqa: PLC0414 - re-exported, with its types
finally:
    for _name, _value in _there_before.items():
        if _value is None:
            del os.environ[_name]
        else:
            os.environ[_name] = _value

onnxruntime.disable_telemetry_events()  # for the platforms that know this switch only
