"""Loading, inheriting and refusing profiles. Negative paths name file and key."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from targets import catalog, show
from targets.errors import ProfileError, UnknownTargetError
from targets.operators import OPERATORS

if TYPE_CHECKING:
    from pathlib import Path

BASE = "x86_64-onnxruntime"
IDS = (
    "aarch64-onnxruntime",
    "amd-vitis-dpu",
    "coral-edgetpu",
    "cortex-a-tflite",
    "cortex-a-tflite-legacy",
    "cortex-m-tflm",
    "espressif-esp32p4",
    "espressif-esp32s3",
    "ethos-u55",
    "ethos-u85",
    "generic-per-tensor",
    "generic-per-tensor-symmetric",
    "generic-power-of-two",
    "generic-symmetric",
    "intel-npu-openvino",
    "kendryte-k230",
    "ncnn",
    "nvidia-dla",
    "nvidia-tensorrt",
    "nxp-neutron",
    "nxp-vx",
    "qualcomm-htp",
    "rockchip-rknn",
    "sony-imx500",
    "stm32n6",
    "x86_64-onnxruntime",
    "x86_64-onnxruntime-avx2",
    "x86_64-openvino",
    "x86_64-openvino-avx2",
)


def text_of(name: str) -> str:
    return (
        resources.files("targets").joinpath("profiles").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    )


def child(body: str = "", *, base: str = BASE) -> str:
    return f'id = "mine"\ntitle = "t"\nproof = "document"\nbased_on = "{base}"\n[sources]\ns = "a source"\n{body}'


def refusal(text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        catalog.parse(text, origin="my.toml")
    return str(caught.value)


def test_the_catalogue_holds_exactly_the_shipped_targets() -> None:
    assert catalog.ids() == IDS


@pytest.mark.parametrize("name", IDS)
def test_every_profile_loads_under_its_file_name(name: str) -> None:
    profile = catalog.load(name)
    assert profile.id == name
    assert set(profile.ops) == set(OPERATORS)


@pytest.mark.parametrize("name", IDS)
def test_every_fact_has_a_key_of_its_own_and_a_source(name: str) -> None:
    facts = catalog.load(name).facts
    assert len({fact.key for fact in facts}) == len(facts)
    assert all(fact.source.strip() for fact in facts)


@pytest.mark.parametrize("name", IDS)
def test_a_profile_agrees_with_itself(name: str) -> None:
    profile = catalog.load(name)
    for operator in profile.weights.per_channel_ops | profile.same_scale | profile.artifact.integer_ops:
        assert "int8" in profile.ops[operator].precisions, operator
    # A Relu or Clip of another scale than its input may also be written on codes, behind the operator that absorbs it.
    assert profile.artifact.integer_ops - {"Relu", "Clip"} <= profile.same_scale
    assert all("int8" in profile.ops[chain[0]].precisions for chain in profile.fusions)
    assert all("int8" in profile.ops[operator].precisions for operator in profile.fixed_outputs)


def test_a_dialect_that_is_not_spoken_of_is_that_of_onnx_runtime() -> None:
    artifact = catalog.load(BASE).artifact
    assert artifact.shields
    assert artifact.sidecars == ()
    said = '[artifact]\nshields = { is = false, source = "s" }\nsidecars = { is = ["float_onnx"], source = "s" }\n'
    other = catalog.parse(child(said), origin="my.toml").artifact
    assert not other.shields
    assert other.sidecars == ("float_onnx",)


def test_16_bits_are_what_the_profile_says_of_them() -> None:
    narrow = catalog.load("cortex-a-tflite")
    wide = narrow.at("int16")
    assert narrow.at("int8") is narrow.at("float32") is narrow
    assert (wide.activations.bits, wide.activations.zero_point, wide.bias.bits) == (16, "symmetric", 64)
    assert wide.at("int16") is wide
    assert "PRelu" in narrow.ops
    assert "PRelu" not in wide.ops
    assert all("int8" in narrow.ops[name].precisions for name in wide.ops)
    assert all(support.precisions == ("int16",) for support in wide.ops.values())


def test_16_bits_end_where_a_profile_says_none_and_where_all_activations_have_them() -> None:
    none = catalog.parse(
        child('[wide]\nops = { is = "none", source = "s" }', base="cortex-a-tflite"), origin="my.toml"
    )
    assert none.wide is None
    assert none.at("int16") is none
    sixteen = '[activations]\nbits = { is = 16, source = "s" }'
    assert "wide.ops: activations.bits is 16 already" in refusal(child(sixteen, base="cortex-a-tflite"))


def test_the_digest_is_that_of_the_bytes() -> None:
    digest = hashlib.sha256(text_of(BASE).encode()).hexdigest()
    assert catalog.load(BASE).digest == f"sha256:{digest}"


def test_profiles_are_equal_when_loaded_twice_and_cannot_be_changed() -> None:
    profile = catalog.load(BASE)
    assert profile == catalog.load(BASE)
    with pytest.raises(TypeError):
        profile.ops["Conv"] = profile.ops["Div"]  # type: ignore[index]


class TestBasedOn:
    def test_copies_every_fact_and_overrides_its_own(self) -> None:
        base = catalog.load(BASE)
        mine = catalog.parse(child('[activations]\nsigned = { is = true, source = "s" }'), origin="my.toml")
        differing = [(a, b) for a, b in zip(base.facts, mine.facts, strict=True) if a != b]
        assert [(a.key, b.value, b.source) for a, b in differing] == [
            ("activations.signed", True, "a source")
        ]
        assert mine.activations.signed
        assert mine.weights == base.weights

    def test_digest_covers_both_files(self) -> None:
        body = '[activations]\nsigned = { is = true, source = "s" }'
        digests = {
            catalog.parse(child(body, base=name), origin="my.toml").digest for name in ("nxp-neutron", BASE)
        }
        digests.add(catalog.parse(child(body.replace("true", "false")), origin="my.toml").digest)
        assert len(digests) == 3

    def test_own_operator_facts_win_over_the_bases_group(self) -> None:
        mine = catalog.parse(
            child('[ops.Conv]\nprecisions = { is = ["float32"], source = "s" }'), origin="my.toml"
        )
        assert mine.ops["Conv"].precisions == ("float32",)
        assert mine.ops["Gemm"] == catalog.load(BASE).ops["Gemm"]

    def test_a_limit_can_be_taken_away(self) -> None:
        mine = catalog.parse(
            child(
                '[ops.Conv]\nrequantization_ratio = { is = "none", source = "s" }\n'
                '[fixed_outputs]\nTanh = { is = "none", source = "s" }',
                base="cortex-a-tflite",
            ),
            origin="my.toml",
        )
        assert mine.ops["Conv"].requantization_ratio is None
        assert "Tanh" not in mine.fixed_outputs

    def test_an_error_in_an_inherited_combination_names_the_file_that_spells_it(self) -> None:
        text = child('[weights]\nbits = { is = 3, source = "s" }')
        assert refusal(text).startswith("my.toml: weights.bits: expected a whole number from 4 to 16, got 3")

    def test_an_unknown_base_is_refused_with_look_alikes(self) -> None:
        message = refusal(child(base="x86_64-onnxruntme").replace('[sources]\ns = "a source"\n', ""))
        assert message.startswith('my.toml: based_on: unknown target "x86_64-onnxruntme"')
        assert "'x86_64-onnxruntime'" in message


REFUSED = {
    "unknown top-level key": (
        "wieghts = 1",
        'wieghts: unknown key "wieghts"; expected one of id',
        "'weights'",
    ),
    "unknown fact": (
        '[weights]\nbit = { is = 8, source = "s" }',
        "weights.bit: unknown key",
        "'weights.bits'",
    ),
    "unknown key in a fact": (
        '[weights]\nbits = { is = 8, sauce = "s" }',
        'weights.bits.sauce: unknown key "sauce"',
        "'source'",
    ),
    "bare value": ("[weights]\nbits = 8", "weights.bits: expected a table { is = VALUE", "got 8"),
    "no value": ('[weights]\nbits = { source = "s" }', "weights.bits.is: missing", ""),
    "no source": ("[weights]\nbits = { is = 8 }", "weights.bits.source: missing", "[sources]"),
    "no source at all": (
        "[weights]\nbits = { is = 8, source = [] }",
        "weights.bits.source: expected a source's name",
        "got []",
    ),
    "source not text": (
        "[weights]\nbits = { is = 8, source = 1 }",
        "weights.bits.source: expected a",
        "got 1",
    ),
    "source not listed": (
        '[weights]\nbits = { is = 8, source = "S" }',
        'weights.bits.source: source "S" is not listed under [sources]',
        "",
    ),
    "wrong type": (
        '[ops.Conv]\nmax_stride = { is = "3", source = "s" }',
        "ops.Conv.max_stride: expected a whole number >= 1",
        'got "3"',
    ),
    "bool is no number": (
        '[weights]\nbits = { is = true, source = "s" }',
        "weights.bits: expected a",
        "got true",
    ),
    "number is no bool": (
        '[weights]\nsigned = { is = 1, source = "s" }',
        "weights.signed: expected true",
        "got 1",
    ),
    "out of range": (
        '[activations]\nbits = { is = 17, source = "s" }',
        "activations.bits: expected",
        "got 17",
    ),
    "between allowed": (
        '[activations]\nbits = { is = 9, source = "s" }',
        "activations.bits: expected 8 or",
        "got 9",
    ),
    "bias width": (
        '[bias]\nbits = { is = 33, source = "s" }',
        "bias.bits: expected 20, 32, 40 or 64",
        "got 33",
    ),
    "unknown choice": (
        '[scale]\nkind = { is = "pow2", source = "s" }',
        "scale.kind: expected one of float32",
        "pow2",
    ),
    "zero scale": (
        '[scale]\nminimum = { is = 0.0, source = "s" }',
        "scale.minimum: expected a finite number > 0",
        "0.0",
    ),
    "nan": (
        '[scale]\nminimum = { is = nan, source = "s" }',
        "scale.minimum: expected a finite number",
        "NaN",
    ),
    "share above one": (
        '[parity]\nmin_share_within_one = { is = 1.5, source = "s" }',
        "parity.min_share_within_one: expected a finite number >= 0 and <= 1",
        "got 1.5",
    ),
    "no library": (
        '[engine]\nmin_versions = { is = {}, source = "s" }',
        "engine.min_versions: expected a table of versions by library",
        "{}",
    ),
    "version of words": (
        '[engine]\nmin_versions = { is = { onnxruntime = "1.18rc1" }, source = "s" }',
        "engine.min_versions: onnxruntime: expected numbers and dots",
        '"1.18rc1"',
    ),
    "unknown operator table": ("[ops.Convv]\n", 'ops.Convv: unknown operator "Convv"', "'Conv'"),
    "unknown operator in a group": (
        '[op_groups.a]\nops = ["Relu6"]\nprecisions = ["int8"]\nsource = "s"',
        'op_groups.a.ops: unknown operator "Relu6"',
        "'Relu'",
    ),
    "empty group": (
        '[op_groups.a]\nops = []\nsource = "s"',
        "op_groups.a.ops: expected a list of operator",
        "got []",
    ),
    "group without source": (
        '[op_groups.a]\nops = ["Conv"]\nprecisions = ["int8"]',
        "op_groups.a.source: missing",
        "",
    ),
    "group twice": (
        '[op_groups.a]\nops = ["Conv", "Conv"]\nprecisions = ["int8"]\nsource = "s"',
        "op_groups.a.precisions: ops.Conv.precisions is given by op_groups.a.precisions already",
        "",
    ),
    "group with a wrong fact": (
        '[op_groups.a]\nops = ["Conv"]\nprecisions = ["int7"]\nsource = "s"',
        "op_groups.a.precisions: expected one of int8",
        'got "int7"',
    ),
    "precision twice": (
        '[ops.Conv]\nprecisions = { is = ["int8", "int8"], source = "s" }',
        "ops.Conv.precisions: expected each name once",
        "",
    ),
    "unknown operator fact": (
        '[ops.Conv]\nstride = { is = 1, source = "s" }',
        "ops.Conv.stride: unknown key",
        "",
    ),
    "ratio upside down": (
        '[ops.Conv]\nrequantization_ratio = { is = [2.0, 1.0], source = "s" }',
        "ops.Conv.requantization_ratio: expected [low, high]",
        "got [2.0, 1.0]",
    ),
    "axes negative": (
        '[ops.Conv]\naxes = { is = [-1], source = "s" }',
        "ops.Conv.axes: expected a list",
        "got [-1]",
    ),
    "unknown mode": (
        '[ops.Resize]\nmodes = { is = ["box"], source = "s" }',
        "ops.Resize.modes: expected",
        '"box"',
    ),
    "short chain": (
        '[fusions]\na = { is = [["Conv"]], source = "s" }',
        "fusions.a: expected chains",
        '["Conv"]',
    ),
    "chain of strangers": (
        '[fusions]\na = { is = [["Conv", "X"]], source = "s" }',
        "fusions.a: unknown operator",
        "X",
    ),
    "same scale of strangers": (
        '[same_scale]\na = { is = ["X"], source = "s" }',
        "same_scale.a: unknown operator",
        "",
    ),
    "fixed output of a stranger": (
        '[fixed_outputs]\nTan = { is = { scale = 1.0, zero_point = 0 }, source = "s" }',
        'fixed_outputs.Tan: unknown operator "Tan"',
        "'Tanh'",
    ),
    "fixed output without scale": (
        '[fixed_outputs]\nTanh = { is = { zero_point = 0 }, source = "s" }',
        "fixed_outputs.Tanh: expected { scale",
        '{"zero_point": 0}',
    ),
    "fixed output out of range": (
        '[fixed_outputs]\nTanh = { is = { scale = 1.0, zero_point = 200 }, source = "s" }',
        "fixed_outputs.Tanh: expected { scale",
        "200",
    ),
    "version zero": (
        '[artifact]\nmax_op_versions = { is = { ADD = 0 }, source = "s" }',
        "artifact.max_op_versions: ADD: expected a whole number >= 1",
        "got 0",
    ),
    "versions not a table": (
        '[artifact]\nmax_op_versions = { is = [1], source = "s" }',
        "artifact.max_op_versions: expected a table",
        "got [1]",
    ),
    "unknown sidecar": (
        '[artifact]\nsidecars = { is = ["readme"], source = "s" }',
        "artifact.sidecars: expected one of float_onnx, qualcomm_encodings, nncase_quant_scheme",
        'got "readme"',
    ),
    "sidecar twice": (
        '[artifact]\nsidecars = { is = ["float_onnx", "float_onnx"], source = "s" }',
        "artifact.sidecars: expected each name once",
        "",
    ),
    "shields not a flag": (
        '[artifact]\nshields = { is = "no", source = "s" }',
        "artifact.shields: expected true or false",
        'got "no"',
    ),
    "16 bits without 8": (
        '[wide]\nops = { is = ["Div"], source = "s" }',
        "wide.ops: Div has no int8 kernel: expected operators whose ops.Div.precisions hold int8",
        "Leave Div out",
    ),
    "16 bits of an operator that is not listed": (
        '[wide]\nops = { is = ["GRU"], source = "s" }',
        'wide.ops: unknown operator "GRU"',
        "",
    ),
    "16 bits and nothing more": (
        '[wide]\nops = { is = ["Conv"], source = "s" }',
        "wide.bias_bits: missing; expected a whole number from 32 to 64",
        "",
    ),
    "16 bits with a bias of 33": (
        '[wide]\nops = { is = ["Conv"], source = "s" }\nbias_bits = { is = 33, source = "s" }',
        "wide.bias_bits: expected 32, 40 or 64, got 33",
        "",
    ),
    "unknown key of 16 bits": (
        '[wide]\nops = { is = "none", source = "s" }\nbits = { is = 16, source = "s" }',
        "wide.bits: unknown key",
        "",
    ),
    "a cost of nothing": (
        '[cost]\nint16 = { is = 0, source = "s" }',
        "cost.int16: expected a finite number > 0",
        "got 0",
    ),
    "section not a table": ("weights = 8", "weights: expected a table, got 8", ""),
    "unused source": ("", "sources.s: no fact names this source", "Remove it"),
    "not TOML": ("[[[", "not TOML:", ""),
    "huge number": (f"x = {'9' * 5000}", "not TOML", ""),
    "nested arrays": (f"x = {'[' * 3000}", "not TOML", ""),
    "nested tables": (
        f"[weights]\n{'a.' * 3000}a = 1",
        "not TOML that we read: nested",
        "",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_by_file_and_key(case: str) -> None:
    body, where, rest = REFUSED[case]
    text = f"{body}\n{child()}" if body.startswith(("wieghts", "weights", "x =")) else child(body)
    message = refusal(text)
    assert message.startswith(f"my.toml: {where}")
    assert rest in message


@pytest.mark.parametrize("key", ["id", "title", "proof"])
def test_a_missing_name_is_named(key: str) -> None:
    body = child('[weights]\nbits = { is = 8, source = "s" }')
    text = "\n".join(line for line in body.splitlines() if not line.startswith(f"{key} ="))
    assert refusal(text).startswith(f"my.toml: {key}: missing; expected")


def test_a_missing_fact_is_named() -> None:
    text = "".join(line for line in text_of(BASE).splitlines(keepends=True) if not line.startswith("kind ="))
    with pytest.raises(
        ProfileError, match=r"^x\.toml: scale\.kind: missing; expected one of float32, power_of_two"
    ):
        catalog.parse(text, origin="x.toml")


@pytest.mark.parametrize("name", ["Mine", "a b", "", "-x", "x" * 65, "é"])
def test_an_id_that_is_none_is_refused(name: str) -> None:
    body = child('[weights]\nbits = { is = 8, source = "s" }').replace('"mine"', f'"{name}"')
    assert refusal(body).startswith("my.toml: id: expected")


def test_support_without_a_kernel_is_refused_where_scales_must_agree() -> None:
    text = text_of(BASE).replace('"MaxPool", "Reshape"', '"Reshape"', 1)
    with pytest.raises(ProfileError, match=r"same_scale\.moved: operator 'MaxPool' has no support listed"):
        catalog.parse(text, origin="x.toml")


def test_errors_carry_code_and_hint() -> None:
    with pytest.raises(ProfileError) as caught:
        catalog.parse(child("[weights]\nbits = { is = 8 }"), origin="my.toml")
    assert caught.value.code == "profile"
    assert caught.value.hint == "List it under [sources]."


class TestLoad:
    def test_an_unknown_id_lists_look_alikes_and_all(self) -> None:
        with pytest.raises(UnknownTargetError) as caught:
            catalog.load("cortex-tflite")
        message = str(caught.value)
        assert caught.value.code == "unknown_target"
        assert "Did you mean 'cortex-a-tflite'" in message
        assert all(name in message for name in IDS)

    def test_a_users_own_file_by_path(self, tmp_path: Path) -> None:
        path = tmp_path / "my-board.toml"
        path.write_text(show.template("my-board", "nxp-neutron"), encoding="utf-8")
        assert catalog.load(path) == catalog.load(str(path))
        assert catalog.load(path).id == "my-board"

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ProfileError, match=r"no\.toml: cannot be read: No such file"):
            catalog.load(tmp_path / "no.toml")

    def test_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "dir.toml").mkdir()
        with pytest.raises(ProfileError, match=r"dir\.toml: cannot be read"):
            catalog.load(tmp_path / "dir.toml")

    def test_not_utf8(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_bytes(b'id = "\xff"')
        with pytest.raises(ProfileError, match=r"x\.toml: not UTF-8 at byte 6"):
            catalog.load(tmp_path / "x.toml")

    def test_too_large(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_bytes(b"#" * (catalog.MAX_FILE_BYTES + 1))
        with pytest.raises(ProfileError, match=r"x\.toml: larger than 1048576 bytes"):
            catalog.load(tmp_path / "x.toml")

    def test_a_name_of_the_catalogue_cannot_be_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "x.toml"
        path.write_text(text_of(BASE) + "# changed\n", encoding="utf-8")
        with pytest.raises(ProfileError, match="id: 'x86_64-onnxruntime' is a profile of the catalogue"):
            catalog.load(path)

    def test_a_copy_of_a_catalogue_file_is_that_profile(self, tmp_path: Path) -> None:
        path = tmp_path / "x.toml"
        path.write_text(text_of(BASE), encoding="utf-8")
        assert catalog.load(path) == catalog.load(BASE)
