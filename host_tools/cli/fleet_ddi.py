"""What `edgewright fleet devices target-token | groups gateway-token` do: tokens of devices that poll over hawkBit's DDI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.cli.fleet_asking import done, name_of
from host_tools.cli.fleet_server import FleetServer

if TYPE_CHECKING:
    import argparse


def devices_target_token(options: argparse.Namespace) -> int:
    """Make a device's token, or take it back."""
    return _token(options, f"/devices/{name_of(options.id)}/target-token", f"device {options.id}")


def groups_gateway_token(options: argparse.Namespace) -> int:
    """Make a group's token, or take it back."""
    return _token(options, f"/groups/{name_of(options.name)}/gateway-token", f"group {options.name}")


def _token(options: argparse.Namespace, path: str, whose: str) -> int:
    """Ask; a new token alone goes to standard output."""
    server = FleetServer(options)
    if options.revoke:
        server.ask("DELETE", path)
        return done(options, {"revoked": whose}, f"{whose}: its token is taken back")
    made = server.ask("POST", path)
    return done(options, made, str(made["secret"]))
