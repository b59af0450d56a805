"""The documents say what the code says."""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from device_agent import __version__
from device_agent.config import parse_config
from host_tools.batch.jobs_file import Settings, parse_jobs
from host_tools.cli import batch
from host_tools.cli.convert import _METHODS
from host_tools.recipe import METHODS
from host_tools.recipe_file import parse_recipe
from targets import show

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "targets" / "README.md",
    ]
)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("README.md", "overview_table"),
        ("docs/targets.md", "support_table"),
        ("docs/precisions.md", "precision_table"),
    ],
)
def test_the_tables_of_targets_are_generated(name: str, table: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert show.with_table(text, getattr(show, table)()) == text, (
        f"{name}: the table of targets is old; targets.show.{table}() gives the new one"
    )


def test_the_readmes_table_of_targets_fits_a_screen() -> None:
    assert len(show.overview_table().splitlines()) <= 12


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_row_of_a_table_has_as_many_cells_as_its_head(path: Path) -> None:
    """GitHub shows no table where they differ, or drops what is too much."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", row.strip().strip("|")) for row in table.splitlines()]
        wrong = [row for row in rows if len(row) != len(rows[1])]
        assert not wrong, f"{path.name}: {wrong[0]}"


def test_the_readmes_agent_configuration_is_valid() -> None:
    (script,) = [block for block in blocks(ROOT / "README.md", "") if "agent.toml" in block]
    text = re.search(r"cat > agent.toml <<'END'\n(.*?)END", script, re.DOTALL)
    assert text is not None
    config = parse_config(text.group(1).encode(), origin="README.md", folder=ROOT)
    assert config.device.id == "lab-1"


def test_the_recipe_in_the_documents_is_valid() -> None:
    (text,) = blocks(ROOT / "docs" / "recipes.md", "toml")
    recipe = parse_recipe(text.encode(), where="docs/recipes.md")
    assert recipe.method == "percentile"


def test_the_jobs_in_the_documents_are_valid() -> None:
    (text,) = blocks(ROOT / "docs" / "batch.md", "toml")
    (pattern, detector) = parse_jobs(text.encode(), where="docs/batch.md").models
    assert pattern.settings.targets == ("x86_64-onnxruntime", "cortex-a-tflite")
    said = {name for name in Settings.__dataclass_fields__ if getattr(detector.settings, name)}
    said |= {name for name in ("latency", "diagnose") if getattr(detector.settings, name) is False}
    assert said == {*Settings.__dataclass_fields__} - {"method"}, "every key of a model stands in the example"


def test_the_jobs_in_the_help_are_valid() -> None:
    text = batch._EPILOG.split("\n\nexamples:")[0].split("\n", 1)[1]
    assert len(parse_jobs(text.encode(), where="--help").models) == 2


def test_the_methods_are_the_same_everywhere() -> None:
    assert set(_METHODS) == set(METHODS)
    table = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert all(f"| `{method}` |" in table for method in METHODS)


def test_every_dependency_is_explained() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    names = {
        re.split(r"[ \[<>=!~;]", requirement, maxsplit=1)[0] for requirement in requires("edgewright") or []
    }
    names -= {"edgewright"}
    missing = sorted(name for name in names if name not in text)
    assert not missing, f"docs/dependencies.md does not name {', '.join(missing)}"


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


def named_by(name: str) -> list[tuple[str, str]]:
    return re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["security.md", "reliability.md"])
def test_every_test_that_a_page_names_is_there(name: str) -> None:
    named = named_by(name)
    assert len(named) > 30
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in sources.get(file, "")]
    assert not missing, f"docs/{name} names tests that are not there: {', '.join(missing)}"


@pytest.mark.parametrize("path", ["integration/test_outages.py", "unit/device_agent/telemetry/test_spool.py"])
def test_every_outage_that_is_tested_has_its_row(path: str) -> None:
    source = ROOT / "tests" / path
    tests = set(re.findall(r"^def (test_\w+)\(", source.read_text(encoding="utf-8"), re.MULTILINE))
    named = {test for file, test in named_by("reliability.md") if file == source.name}
    assert tests == named
