"""A store as Parquet files, one a table, with a manifest of their digests; and back into any store."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from host_tools.errors import StoreError
from host_tools.review.store.schema import SCHEMA_VERSION, TABLES, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.review.store.engine import Engine

_FORMAT = "edgewright-telemetry"
_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 20
_BLOCK = 1 << 20
_KINDS: dict[Kind, pa.DataType] = {
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "int32[]": pa.list_(pa.int32()),
    "int64[]": pa.list_(pa.int64()),
    "double[33]": pa.list_(pa.float64()),
}


def schema_of(table: str) -> pa.Schema:
    """Return the columns of a table's file."""
    return pa.schema([pa.field(name, _KINDS[kind]) for name, kind in TABLES[table].columns.items()])


def export_parquet(engine: Engine, folder: Path) -> None:
    """Write every table; the folder is there when all of it is.

    Raises:
        StoreError: The folder is there already, or cannot be written.
    """
    if folder.exists():
        raise StoreError(f"{folder}: is there already.", hint="Name a folder that is not there.")
    unfinished = folder.with_name(f"{folder.name}.part")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        tables = {table: _write(engine, table, unfinished / f"{table}.parquet") for table in TABLES}
        manifest = {"format": _FORMAT, "schema_version": SCHEMA_VERSION, "tables": tables}
        (unfinished / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        unfinished.rename(folder)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{folder}: cannot write the export: {error}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def import_parquet(engine: Engine, folder: Path) -> int:
    """Take an export into an empty store as it is; return how many messages it had heard.

    Raises:
        StoreError: The export is incomplete, changed, of a newer schema, or the store is not empty.
    """
    rows = _checked(folder)
    if (
        engine.select("SELECT boot FROM boot LIMIT 1").num_rows
        or engine.select("SELECT id FROM device LIMIT 1").num_rows
    ):
        raise StoreError(
            f"{engine.where}: holds telemetry already, and an export is taken into an empty store.",
            hint="Open a store that is not there yet.",
        )
    with engine.transaction():
        for table, file in rows.items():
            for batch in file.iter_batches(_BLOCK >> 3):
                part = pa.Table.from_batches([batch])
                engine.replace(table, part) if table == "setting" else engine.append(table, part)
    heard = engine.select('SELECT sum("last" - "first" + 1 - closed) AS heard FROM heard')
    return int(heard.column("heard")[0].as_py() or 0)


def _write(engine: Engine, table: str, path: Path) -> dict[str, int | str]:
    schema, count = schema_of(table), 0
    names = ", ".join(f'"{name}"' for name in schema.names)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in engine.stream(f"SELECT {names} FROM {table}"):
            writer.write_batch(batch.cast(schema))
            count += batch.num_rows
    return {"rows": count, "bytes": path.stat().st_size, "sha256": _digest(path)}


def _checked(folder: Path) -> dict[str, pq.ParquetFile]:
    """Open every file of an export, when all of it is as the manifest says."""
    manifest = _manifest(folder)
    files = {}
    for table in TABLES:
        told = manifest.get(table)
        path = folder / f"{table}.parquet"
        if not isinstance(told, dict) or set(told) != {"rows", "bytes", "sha256"}:
            raise StoreError(
                f"{folder / _MANIFEST}: expected rows, bytes and sha256 of the table {table}, got {told!r}."
            )
        try:
            if path.stat().st_size != told["bytes"] or _digest(path) != told["sha256"]:
                raise StoreError(f"{path}: is not the file that was exported.", hint="Copy the export again.")
            file = pq.ParquetFile(path)
            if (
                file.schema_arrow.remove_metadata() != schema_of(table)
                or file.metadata.num_rows != told["rows"]
            ):
                raise StoreError(
                    f"{path}: expected {told['rows']} rows of {schema_of(table)}, got {file.schema_arrow}."
                )
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path}: cannot be read: {error}.", hint="Copy the export again.") from error
        files[table] = file
    return files


def _manifest(folder: Path) -> dict[str, object]:
    path = folder / _MANIFEST
    try:
        if path.stat().st_size > _MANIFEST_BYTES:
            raise StoreError(f"{path}: expected at most {_MANIFEST_BYTES} bytes, got {path.stat().st_size}.")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}.", hint="Name the folder that an export wrote."
        ) from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not JSON: {error}.", hint="Copy the export again.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise StoreError(f"{path}: not an export of telemetry.", hint="Name the folder that an export wrote.")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise StoreError(
            f"{path}: expected schema {SCHEMA_VERSION}, got {manifest.get('schema_version')!r}.",
            hint="Take it into a store of the version that wrote it.",
        )
    tables = manifest.get("tables")
    if not isinstance(tables, dict):
        raise StoreError(f"{path}: expected the tables by name, got {tables!r}.")
    return tables


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
