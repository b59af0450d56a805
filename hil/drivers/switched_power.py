"""`SwitchedPower`: the machine itself goes off and on, by whatever switches it; the board is reached again over ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hil.errors import BootError, RigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.drivers.openssh import SshConnection, SshShell
    from hil.drivers.relayed_network import RelayedNetwork


class SwitchedPower:
    """See `Power`.

    Args:
        off: Takes the power.
        on: Gives it back.
        boot_seconds: How long the board may take from power to ssh.
        connection: The way to the board.
        shell: Whose programs end with the power.
        network: Whose ways are made anew.
        set_up_again: Brings back what else the board forgets without power.
    """

    cuts: Literal["machine", "process"] = "machine"

    def __init__(
        self,
        *,
        off: Callable[[], None],
        on: Callable[[], None],
        boot_seconds: float,
        connection: SshConnection,
        shell: SshShell,
        network: RelayedNetwork,
        set_up_again: Callable[[], None] = lambda: None,
    ) -> None:
        self._off = off
        self._on = on
        self._boot_seconds = boot_seconds
        self._connection = connection
        self._shell = shell
        self._network = network
        self._set_up_again = set_up_again

    def cut(self) -> None:
        """See `Power.cut`."""
        self._off()
        self._connection.close()
        self._shell.forget_programs()

    def restore(self) -> None:
        """See `Power.restore`; the ways back to this machine are made anew."""
        self._on()
        try:
            self._connection.open(within_seconds=self._boot_seconds)
        except RigError as error:
            raise BootError(
                f"the board has its power back and was not reached in {self._boot_seconds:g} s: {error}"
            ) from error
        self._network.expose_anew()
        self._set_up_again()
