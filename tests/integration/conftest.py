from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.support import Mosquitto, Reader, certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    certificate(folder, "authority", issuer=None)
    certificate(folder, "stranger", issuer=None)
    certificate(folder, "server", issuer="authority")
    certificate(folder, "device", issuer="authority")
    return folder


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    """Return what starts a reader on a port; it hears everything from then on."""
    readers: list[Reader] = []

    def start(port: int, **options: str) -> Reader:
        reader = Reader(port, tmp_path / f"heard-{len(readers)}", **options)
        readers.append(reader)
        return reader.wait_until_subscribed(port)

    yield start
    for reader in readers:
        reader.close()
