"""What an artifact declares about heat, read from a small TOML file (``convert --heat FILE``)."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from device_agent.contract.heat_codec import decode_heat
from device_agent.contract.manifest import Heat
from host_tools.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

_DEFAULTS: Final[dict[str, Any]] = {"hysteresis_celsius": 5.0, "hold_seconds": 30.0}
_MAX_BYTES: Final = 1 << 16


def read_heat(path: Path) -> Heat:
    """Read a declaration: the keys of `Heat`; hysteresis is 5 °C and the hold 30 s where they are not given.

    Raises:
        InputError: The file cannot be read, is no TOML, or breaks a rule; the message names file and key.
    """
    known = [field.name for field in fields(Heat) if field.name != "extra"]
    hint = f"Keys: {', '.join(known)}; for example: pause_celsius = 85.0"
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise InputError(f"--heat: {path}: expected at most {_MAX_BYTES} bytes.", hint=hint)
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise InputError(f"--heat: {path}: cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--heat: {path}: is no TOML: {error}.", hint=hint) from error
    strange = sorted(set(document) - set(known))
    if strange:
        raise InputError(f"--heat: {path}: {strange[0]}: unknown.", hint=hint)
    try:
        # By way of JSON, because dates and infinities, which TOML has, are none of the contract's.
        plain = json.loads(json.dumps(_DEFAULTS | document, allow_nan=False))
        return decode_heat(Fields(plain, where=f"--heat: {path}"))
    except (TypeError, ValueError) as error:
        raise InputError(f"--heat: {path}: {error}.", hint=hint) from error
    except ContractError as error:
        raise InputError(str(error), hint=hint) from error
