"""Virtual boards without a QEMU: recipes, the first root's archive, how a board is started, what is refused."""

from __future__ import annotations

import dataclasses
import os
import platform
import pwd
import subprocess
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.artifact import open_artifact
from hil.board import board_names, load_board
from hil.drivers.hardware_monitor import register
from hil.errors import BoardError, RigError, UnsupportedFeatureError
from hil.null_artifact import write_null_artifact
from hil.rig import open_rig
from hil.virtual import accelerator
from hil.virtual.accelerator import Accelerator, accelerator_for
from hil.virtual.build import build_image, make_folder
from hil.virtual.cpio import cpio_archive
from hil.virtual.debian import debian_sources
from hil.virtual.kernel import install_kernel
from hil.virtual.layout import environment_folder, lay_out
from hil.virtual.machine import VirtualMachine
from hil.virtual.programs import run_here
from hil.virtual.recipe import ENVIRONMENTS, cache_folder, image_of, load_recipe, recipe_names
from host_tools.cli.main import main

if TYPE_CHECKING:
    pass


def read_cpio(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Read it as the kernel's document says: mode and content by name."""
    found, at = {}, 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * field : at + 14 + 8 * field], 16) for field in range(13)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        assert data[at + 109 + name_size] == 0
        begin = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, data[begin : begin + size])
        at = (begin + size + 3) // 4 * 4


names = st.text("abcxyz-_.0", min_size=1, max_size=9).filter(lambda name: name.strip("."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(paths, st.binary(max_size=40), max_size=6))
def test_the_first_root_is_an_archive_that_the_kernel_reads(files: dict[str, bytes]) -> None:
    folders = {"/".join(name.split("/")[:end]) for name in files for end in range(1, name.count("/") + 1)}
    if folders & set(files):  # a file cannot be a folder too
        return
    read = read_cpio(cpio_archive(files))
    assert {name: data for name, (mode, data) in read.items() if mode == 0o100755} == files
    assert {name for name, (mode, _) in read.items() if mode == 0o040755} == folders
    order = list(read)
    assert all(order.index(name.rpartition("/")[0]) < order.index(name) for name in read if "/" in name)


@given(st.integers(-110, 250).map(lambda halves: halves / 2))
def test_the_chips_register_holds_the_temperature(celsius: float) -> None:
    word = register(celsius)
    upper, lower = word & 0xFF, word >> 8  # on the bus the upper byte comes first
    nine = (upper << 8 | lower) >> 7
    assert (nine - 512 if nine & 256 else nine) / 2 == celsius


def test_the_chips_register_as_its_data_sheet_has_it() -> None:
    assert register(125.0) == 0x007D  # 0 1111 1010
    assert register(0.5) == 0x8000
    assert register(-25.0) == 0x00E7


@pytest.mark.parametrize("celsius", [150.0, 127.75, -128.3, 200.0])
def test_a_temperature_that_the_chip_does_not_tell_is_refused(celsius: float) -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"tells -128 to 127.5 °C, got"):
        register(celsius)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_a_board_and_every_part_of_it_is_in_its_digest(name: str) -> None:
    recipe = load_recipe(name)
    assert load_board(f"qemu-{name}").resource["image"] == name
    assert {"virtio_pci", "virtio_blk", "virtio_net", "ext4"} <= set(recipe.modules)
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        other = (
            (not value)
            if isinstance(value, bool)
            else (*value, "x")
            if isinstance(value, tuple)
            else f"{value}x"
        )
        assert dataclasses.replace(recipe, **{field.name: other}).digest != recipe.digest
    assert f"manylinux_2_17_{recipe.wheel_architecture}" in recipe.wheel_platforms


def test_every_virtual_board_that_ships_has_a_recipe() -> None:
    virtual = [load_board(name) for name in board_names() if load_board(name).section.kind == "qemu"]
    assert virtual
    assert {board.resource["image"] for board in virtual} == set(recipe_names())


def test_how_a_board_is_started(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    recipe = load_recipe("x86_64")
    image = image_of("x86_64", recipe, tmp_path)
    translated = Accelerator(name="tcg", reason="said so")

    def machine_on(accelerator: Accelerator, processor: str = "") -> VirtualMachine:
        return VirtualMachine(
            recipe,
            image,
            folder,
            accelerator=accelerator,
            processor=processor,
            ssh_port=2222,
            memory_mebibytes=512,
            processors=2,
        )

    hardware = Accelerator(name="kvm", reason="")
    assert "-accel kvm -machine q35 -cpu host " in " ".join(machine_on(hardware).command())
    for one in (hardware, translated):  # what the board's file names counts with either
        assert " -cpu Haswell " in " ".join(machine_on(one, "Haswell").command())
    machine = machine_on(translated)
    command = " ".join(machine.command())
    assert "-accel tcg -machine q35 -cpu max " in command
    assert "cache=writeback" in command, "a flush of the board is one of this machine's disk"
    assert "ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22" in command, (
        "it reaches nothing but what is led to it"
    )
    assert f"file={tmp_path}/a,,b/disk.qcow2," in command
    assert machine.console() == ""
    with pytest.raises(RigError, match="QEMU does not answer"):
        machine.facts()
    with pytest.raises(RigError, match="QEMU does not answer"):
        machine.set_link(is_up=False)
    machine.cut()


def test_images_are_kept_in_the_cache_of_whoever_boots_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "daemon")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative, so it does not count")
    assert str(cache_folder()) == f"{pwd.getpwnam('daemon').pw_dir}/.cache/edgewright/boards"
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(cache_folder()) == "/cache/edgewright/boards"


def test_what_runs_a_board_is_found_out_and_its_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    other = accelerator_for("m68k")
    assert (other.name, other.reason) == ("tcg", f"this machine is {platform.machine()}")
    assert accelerator_for("m68k", "kvm").name == "kvm", "whoever says so has it tried"
    monkeypatch.setattr(accelerator, "_DEVICE", "/dev/no-kvm")
    absent = accelerator_for(platform.machine())
    assert (absent.name, absent.reason) == ("tcg", "/dev/no-kvm is not there")
    monkeypatch.setattr(accelerator, "_DEVICE", os.devnull)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert accelerator_for("aarch64").name == "kvm"


@pytest.mark.parametrize(("flags", "name"), [("fpu svm", "kvm"), ("fpu vmx", "kvm"), ("fpu svm_lock", "tcg")])
def test_a_kvm_without_the_processors_virtualization_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, name: str
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags} sse2\n")
    monkeypatch.setattr(accelerator, "_DEVICE", os.devnull)
    monkeypatch.setattr(accelerator, "_PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert accelerator_for("x86_64").name == name


def test_what_stands_on_a_board_beside_its_packages(tmp_path: Path) -> None:
    base = tmp_path / "usr/share/base-passwd"
    base.mkdir(parents=True)
    (base / "passwd.master").write_text("root:*:0:0:root:/root:/bin/bash\n")
    (base / "group.master").write_text("root:*:0:\n")
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    for _ in range(2):
        lay_out(tmp_path)
    users = (tmp_path / "etc/passwd").read_text().splitlines()
    assert [line.split(":")[0] for line in users] == ["root", "sshd"]
    assert (tmp_path / "usr/bin/sh").readlink() == Path("dash")
    subprocess.run(["sh", "-n", tmp_path / "etc/board-init"], check=True)
    assert os.access(tmp_path / "etc/board-init", os.X_OK)
    for environment in ENVIRONMENTS:
        folder = tmp_path / environment_folder(environment).lstrip("/")
        assert (folder / "bin/python3").readlink() == Path("/usr/bin/python3.11")
        assert "home = /usr/bin" in (folder / "pyvenv.cfg").read_text()


def test_an_image_that_was_not_built_is_said_with_the_command_that_builds_it(tmp_path: Path) -> None:
    board = tmp_path / "virtual.toml"
    board.write_text(
        f'[board]\nkind = "qemu"\ntargets = ["ncnn"]\n[resource]\nimage = "x86_64"\nimages = "{tmp_path}"\n'
    )
    with pytest.raises(RigError, match="image is not there") as caught:
        open_rig(str(board), tmp_path)
    assert caught.value.hint is not None
    assert f"sudo edgewright hil board build x86_64 --images {tmp_path}" in caught.value.hint
    board.write_text(board.read_text().replace('image = "x86_64"', 'image = "x86-64"'))
    with pytest.raises(BoardError, match=r"'x86-64': unknown\. Did you mean 'x86_64'"):
        open_rig(str(board), tmp_path)
    board.write_text(board.read_text().replace("x86-64", "x86_64") + "memory_mebibytes = 10\n")
    with pytest.raises(BoardError, match=r"resource\.memory_mebibytes: expected 256 to 65536"):
        open_rig(str(board), tmp_path)


def test_an_image_that_is_there_is_not_built_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = image_of("x86_64", load_recipe("x86_64"), tmp_path)
    image.folder.mkdir()
    assert main(["hil", "board", "build", "x86_64", "--images", str(tmp_path)]) == 0
    assert str(image.folder) in capsys.readouterr().err
    assert main(["hil", "board", "build", "pdp11"]) == 2
    assert "virtual board 'pdp11': unknown" in capsys.readouterr().err


def test_a_recipe_of_ones_own_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "small.toml"
    ours = resources.files("hil") / "virtual" / "x86_64.toml"
    own.write_text(ours.read_text().replace('processor = "max"', 'processor = "Nehalem"'))
    recipe = load_recipe(str(own))
    assert recipe.processor == "Nehalem"
    image = image_of(str(own), recipe, tmp_path)
    assert image.folder == tmp_path / f"small-{recipe.digest[:16]}"
    image.folder.mkdir()
    assert main(["hil", "board", "build", str(own), "--images", str(tmp_path)]) == 0
    assert str(image.folder) in capsys.readouterr().err
    own.write_text(own.read_text().replace("processor", "procesor"))
    assert main(["hil", "board", "build", str(own), "--images", str(tmp_path)]) == 2
    assert "small.toml.procesor: unknown. Did you mean 'processor'" in capsys.readouterr().err
    assert main(["hil", "board", "build", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: cannot be read: No such file" in capsys.readouterr().err


def test_only_root_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RigError, match="built as root"):
        build_image("x86_64", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "file").touch()
    with pytest.raises(RigError, match="file: cannot be built: File exists"):
        build_image("x86_64", folder=tmp_path / "file")


def test_folders_that_are_made_for_an_image_are_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    make_folder(tmp_path / ".cache/edgewright/boards")
    owners = [
        (tmp_path / name).stat().st_uid
        for name in (".cache", ".cache/edgewright", ".cache/edgewright/boards")
    ]
    assert owners == [65534] * 3
    assert tmp_path.stat().st_uid == 0, "what was there stays whose it is"


def test_a_user_without_files_here_is_asked_where_images_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("SUDO_USER", "nobody-of-here")
    with pytest.raises(BoardError, match=r"images: user 'nobody-of-here' .SUDO_USER. has no folder"):
        image_of("x86_64", load_recipe("x86_64"))


@pytest.mark.parametrize(("versions", "got"), [((), "none"), (("6.1.0-1", "6.1.0-2"), "6.1.0-1, 6.1.0-2")])
def test_a_package_of_no_kernel_or_of_several_is_refused(
    tmp_path: Path, versions: tuple[str, ...], got: str
) -> None:
    for version in versions:
        (tmp_path / "lib/modules" / version).mkdir(parents=True)
    with pytest.raises(RigError, match=f"expected the modules of one kernel, got those of {got}"):
        install_kernel(tmp_path, tmp_path / "root", load_recipe("x86_64"))


def test_what_this_machine_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RigError, match="no-such-program: cannot be started") as caught:
        run_here(["no-such-program"])
    assert caught.value.hint is not None
    with pytest.raises(RigError, match="status 3: gar\N{REPLACEMENT CHARACTER}on"):  # Latin-1
        run_here(["sh", "-c", r"printf 'gar\347on' >&2; exit 3"])
    with pytest.raises(RigError, match="status 3: went wrong"):
        run_here(["sh", "-c", "echo went wrong >&2; exit 3"])
    with pytest.raises(RigError, match="have no woody"):
        debian_sources("woody")


def test_the_null_artifact_is_an_artifact(tmp_path: Path) -> None:
    write_null_artifact(tmp_path / "nothing.ewa")
    assert open_artifact(tmp_path / "nothing.ewa").manifest.requires.engine == "null"
