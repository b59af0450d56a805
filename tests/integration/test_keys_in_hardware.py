"""Keys in PKCS#11 hardware, here Debian's SoftHSM: every kind of role is signed by it, root is rotated into it and within it, devices follow."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pkcs11
import pytest
from pkcs11.util.ec import encode_named_curve_parameters

from device_agent.update.occurrences import Offered
from host_tools.cli.main import main
from host_tools.repository.keys import PIN_VARIABLE
from tests.integration.support import null_artifact
from tests.integration.update_repository import TARGET, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

PIN, TOKEN = "271828", "release"
CURVES = dict.fromkeys(range(1, 10), "secp256r1") | {7: "secp384r1"}


def module() -> str:
    found = sorted(Path("/usr/lib").glob("**/softhsm/libsofthsm2.so"))
    assert found, "SoftHSM is not here: `make test` installs Debian's package `softhsm2`"
    return str(found[0])


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A token with a key for every number of `CURVES`. The library reads its settings once a process."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        patch.setenv("PYKCS11LIB", module())
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--so-pin", "314159", "--pin", PIN],
            check=True,
            capture_output=True,
        )
        hardware = pkcs11.lib(module()).get_token(token_label=TOKEN)
        with hardware.open(rw=True, user_pin=PIN) as session:
            for number, curve in CURVES.items():
                named = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
                parameters = session.create_domain_parameters(pkcs11.KeyType.EC, named, local=True)
                parameters.generate_keypair(store=True, id=bytes([number]), label=f"key {number}")
        yield


@pytest.fixture
def fleet(token: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    del token
    monkeypatch.setenv(PIN_VARIABLE, PIN)
    made = Fleet(tmp_path / "fleet")
    yield made
    made.server.close()


def rotate(fleet: Fleet, role: str, *numbers: int) -> int:
    uris = [word for number in numbers for word in ("--uri", f"hsm:{number}?label={TOKEN}")]
    folder, keys = str(fleet.folder / "repository"), str(fleet.folder / "keys")
    return main(["repository", "rotate", folder, "--keys", keys, "--role", role, *uris])


def serial(fleet: Fleet) -> int:
    """What the device finds, which trusts the first root alone and what that has led to."""
    answer = fleet.check()
    assert isinstance(answer, Offered), answer
    return answer.serial


def test_every_role_moves_into_hardware_and_root_on_to_other_keys_there(fleet: Fleet, tmp_path: Path) -> None:
    path = fleet.offer(null_artifact(tmp_path / "m-1.ewa", target=TARGET), counter=1)
    assert serial(fleet) == 1
    keys = fleet.folder / "keys"
    for role, numbers in (
        ("root", (1, 2, 3)),
        ("targets", (4, 5)),
        ("snapshot", (6,)),
        ("timestamp", (6,)),
        ("fleet", (7,)),
        ("model-small", (8,)),
    ):
        assert rotate(fleet, role, *numbers) == 0
        for old in keys.glob(f"{role}-*.pem"):
            old.unlink()  # from now on the hardware alone signs
        assert serial(fleet) == 1, role
    assert not list(keys.glob("*.pem"))
    new = fleet.repository.add(null_artifact(tmp_path / "m-2.ewa", target=TARGET), release_counter=2)
    fleet.repository.release("device/dev-1", [new])
    assert serial(fleet) == 2
    assert rotate(fleet, "root", 9, 8, 2) == 0, "signed by keys 1 to 3 and by these"
    fleet.repository.release("device/dev-1", [path], allow_downgrade=True)
    assert serial(fleet) == 3
    assert PIN not in "".join(one.read_text() for one in keys.iterdir())


@pytest.mark.parametrize(
    ("pin", "says"),
    [("000000", "a key does not sign: PinIncorrect"), (None, f"{PIN_VARIABLE} is not set")],
)
def test_a_pin_that_is_wrong_or_missing_signs_nothing_and_is_told(
    fleet: Fleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pin: str | None,
    says: str,
) -> None:
    name = fleet.offer(null_artifact(tmp_path / "m-1.ewa", target=TARGET), counter=1)
    assert rotate(fleet, "fleet", 7) == 0
    if pin is None:
        monkeypatch.delenv(PIN_VARIABLE)
    else:
        monkeypatch.setenv(PIN_VARIABLE, pin)
    folder, keys = str(fleet.folder / "repository"), str(fleet.folder / "keys")
    capsys.readouterr()
    assert main(["repository", "release", folder, "--keys", keys, "--device", "dev-1", name]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert PIN not in told
    assert serial(fleet) == 1


def test_a_key_that_is_not_in_the_token_changes_nothing(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in fleet.folder.rglob("*") if path.is_file())
    assert rotate(fleet, "fleet", 77) == 2
    assert "could not find ECDSA key" in capsys.readouterr().err
    assert sorted(path.name for path in fleet.folder.rglob("*") if path.is_file()) == before
