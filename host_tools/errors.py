"""Errors of the host tools, below the root that host and device share."""

from __future__ import annotations

from device_agent.contract.errors import EdgewrightError


class InputError(EdgewrightError):
    """What the user gave cannot be used; the user mends it."""

    code = "input"


class ModelError(InputError):
    """The float model cannot be read or is not one that we convert."""

    code = "model"


class UnsupportedOperatorError(ModelError):
    """The model has an operator that no lowering knows; the message names operator and node."""

    code = "unsupported_operator"


class DynamicShapeError(ModelError):
    """A shape is not known; fix it with ``--shape NAME=1,3,224,224``."""

    code = "dynamic_shape"


class DataError(InputError):
    """The calibration or evaluation data are absent, empty, of the wrong type or shape, or not finite."""

    code = "data"


class StatisticsError(InputError):
    """A statistics file is of another model, other data or another version."""

    code = "statistics"


class TargetError(InputError):
    """The target is unknown or its profile is wrong."""

    code = "target"


class CapabilityError(EdgewrightError):
    """The target cannot do what the model needs; change target or recipe."""

    code = "capability"


class LoweringError(EdgewrightError):
    """A plan cannot be written in the target's format; the message names node and reason."""

    code = "lowering"


class VerificationError(EdgewrightError):
    """The payload does not do what was promised; it is not shipped."""

    code = "verification"


class OutputError(EdgewrightError):
    """Results cannot be written: disk full, no permission, or another run holds the directory."""

    code = "output"


class StoreError(EdgewrightError):
    """A store of telemetry cannot do its work; what it held before, it holds still."""

    code = "store"


class StoreInUseError(StoreError):
    """Another process has the store's file open; end that one, or wait for it."""

    code = "store_in_use"


class StoreDamagedError(StoreError):
    """The store's file is damaged, or is no store at all; it does not mend itself, a backup does."""

    code = "store_damaged"


class NothingHeardError(EdgewrightError):
    """A store has no telemetry of what is asked for; ingest some, or ask for another time."""

    code = "nothing_heard"


class InternalError(EdgewrightError):
    """A fault of ours; the message says where, and which file has the trace."""

    code = "internal"


class NotFoundError(InputError):
    """There is nothing of that name."""

    code = "not_found"


class ConflictError(InputError):
    """It cannot be done as things are now; the message says what stands against it."""

    code = "conflict"


class StaleError(ConflictError):
    """Somebody has changed it since it was read: look again."""

    code = "stale"


class QuotaError(InputError):
    """There are as many already as there may be."""

    code = "quota"


_EXTRAS = {
    "review": ("duckdb", "fastapi", "msgspec", "plotly", "prometheus_client", "pyarrow", "uvicorn"),
    "otlp": ("opentelemetry",),
    "clickhouse": ("clickhouse_connect",),
    "fleet": ("alembic", "sqlalchemy"),
    "postgres": ("psycopg",),
}
"""Which extra of ours brings a package, where it is not `host`."""


def missing_package(module: str) -> InputError:
    """Return what tells that a module's package is not installed, and which extra of ours brings it."""
    package = module.partition(".")[0]
    extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), "host")
    return InputError(
        f"this command needs the package {package!r}, which is not installed.",
        hint=f"pip install 'edgewright[{extra}]'",
    )
