"""What `convert --heat FILE` takes, and refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device_agent.contract.manifest import Heat
from host_tools.errors import InputError
from host_tools.pack.heat_file import read_heat

if TYPE_CHECKING:
    from pathlib import Path


def test_a_declaration_is_read_with_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "heat.toml"
    file.write_text("slow_celsius = 70\nslow_rate_hz = 5.0\npause_celsius = 85.5\n")
    assert read_heat(file) == Heat(
        slow_celsius=70.0, slow_rate_hz=5.0, pause_celsius=85.5, hysteresis_celsius=5.0, hold_seconds=30.0
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"pause_celsius", "is no TOML"),
        (b"\xff", "is no TOML"),
        (b"#" * 70_000, "expected at most 65536 bytes"),
        (b"pause = 80.0", "pause: unknown"),
        (b"hold_seconds = 9.0", "pause_celsius: expected slow_celsius, pause_celsius or both"),
        (b"slow_celsius = 70.0", "slow_rate_hz: expected slow_celsius and slow_rate_hz together"),
        (b"pause_celsius = 900.0", "pause_celsius: expected"),
        (b"pause_celsius = inf", "Out of range float"),
        (b"pause_celsius = 2026-11-27", "not JSON serializable"),
        (b"pause_celsius = '80'", "pause_celsius: expected"),
    ],
)
def test_a_wrong_declaration_is_refused_with_file_and_key(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "heat.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_heat(file)
    assert f"--heat: {file}: " in str(refused.value)
    assert said in str(refused.value)
