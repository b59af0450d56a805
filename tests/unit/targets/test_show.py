"""Profiles as text, data, table and template."""

from __future__ import annotations

import json

import pytest

from targets import catalog, show
from targets.errors import ProfileError

README = f"# x\n\n{show.TABLE_BEGIN}\nold\n{show.TABLE_END}\n\nrest\n"


def test_the_list_names_every_target_once() -> None:
    lines = show.render_list().splitlines()
    assert [line.split()[0] for line in lines] == list(catalog.ids())
    assert all(catalog.load(line.split()[0]).title in line for line in lines)


def test_the_list_of_nothing_is_empty() -> None:
    assert show.render_list([]) == ""
    assert show.list_data([]) == []


@pytest.mark.parametrize("name", catalog.ids())
def test_render_shows_every_fact_with_its_source(name: str) -> None:
    profile = catalog.load(name)
    text = show.render(profile)
    assert profile.digest in text
    for fact in profile.facts:
        assert f"{fact.key} =" in text
        assert f"    {fact.source}\n" in text


@pytest.mark.parametrize("name", catalog.ids())
def test_data_survives_json(name: str) -> None:
    profile = catalog.load(name)
    data = json.loads(json.dumps(show.data(profile)))
    assert data == show.data(profile)
    assert [fact["key"] for fact in data["facts"]] == [fact.key for fact in profile.facts]


def test_list_data_survives_json() -> None:
    data = show.list_data()
    assert json.loads(json.dumps(data)) == data
    assert [entry["id"] for entry in data] == list(catalog.ids())


def test_the_table_has_a_row_per_target_and_even_columns() -> None:
    lines = show.support_table().splitlines()
    assert len(lines) == len(catalog.ids()) + 2
    assert len({line.count("|") for line in lines}) == 1
    assert "| document |" in lines[3]
    assert (
        "| onnx_qdq | int8 symmetric per tensor | int8 symmetric | power of two | int32 | half up |"
        in lines[3]
    )


def test_the_overview_names_every_target_once_with_its_proof() -> None:
    table = show.overview_table()
    assert all(table.count(f"`{name}`") == 1 for name in catalog.ids())
    row = next(line for line in table.splitlines() if "`ethos-u55`" in line)
    assert row.startswith("| the vendor's own tool | tflite |")


def test_the_row_says_how_many_facts_were_run() -> None:
    rows = {line.split("`")[1]: line for line in show.support_table().splitlines()[2:]}
    assert "| document | none |" in rows["coral-edgetpu"], "what it inherits was run on a stand-in"
    profile = catalog.load("qualcomm-htp")
    run = sum("run: " in fact.source for fact in profile.facts)
    assert f"| vendor tool | {run} of {len(profile.facts)} |" in rows["qualcomm-htp"]


def test_a_document_is_made_current_between_its_markers_only() -> None:
    current = show.with_table(README, "| a table |\n")
    assert current == README.replace("old\n", "| a table |\n")
    assert show.with_table(current, "| a table |\n") == current


@pytest.mark.parametrize(
    "text",
    ["", show.TABLE_BEGIN, README + README, f"{show.TABLE_END}\n{show.TABLE_BEGIN}"],
    ids=["none", "one", "twice", "reversed"],
)
def test_a_readme_without_the_two_markers_is_refused(text: str) -> None:
    with pytest.raises(ProfileError, match="document: expected <!-- targets:begin -->"):
        show.with_table(text, "")


@pytest.mark.parametrize("base", catalog.ids())
def test_a_template_loads_as_it_is(base: str) -> None:
    profile = catalog.parse(show.template("my-board", base), origin="my-board.toml")
    assert profile.id == "my-board"
    assert profile.facts == catalog.load(base).facts


def test_the_templates_examples_load_when_uncommented() -> None:
    head, examples = show.template("my-board", "x86_64-onnxruntime").split("\n# [sources]", maxsplit=1)
    body = "".join(
        line.removeprefix("# ").removeprefix("#") + "\n" for line in f"# [sources]{examples}".splitlines()
    )
    profile = catalog.parse(f"{head}\n{body}", origin="my-board.toml")
    assert profile.scale.kind == "power_of_two"
    assert profile.ops["Conv"].constraints.max_stride == 3
    assert profile.fallback.to == "refuse"


@pytest.mark.parametrize("identity", ["x86_64-onnxruntime", "My Board", 'x"\ntitle = "y'])
def test_a_template_needs_an_id_that_is_free(identity: str) -> None:
    with pytest.raises(ProfileError):
        show.template(identity, "nxp-neutron")


def test_a_template_needs_a_base_of_the_catalogue() -> None:
    with pytest.raises(ProfileError, match="unknown target"):
        show.template("my-board", "nxp-neutrom")
