"""`ShapedInterface`: a network interface of a virtual board, whose cable can be pulled and whose packets can be lost or late.

The cable is QEMU's (``set_link``: the board's kernel sees the carrier go); loss and delay are the board's own kernel's (``tc netem``), on
what it sends.

Source: QEMU, QMP reference, set_link; tc-netem(8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.drivers.openssh import last_line
from hil.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.protocols import Shell

_SHAPE = """\
if [ $# -gt 0 ]; then
  modprobe sch_netem && tc qdisc replace dev "$0" root netem "$@"
elif tc qdisc show dev "$0" | grep -q netem; then
  tc qdisc del dev "$0" root
fi
"""


class ShapedInterface:
    """See `Interface`.

    Args:
        shell: The board's, as root, by another interface.
        name: Of the interface, on the board.
        set_up: Puts the cable in.
        set_down: Pulls it.
    """

    def __init__(
        self, shell: Shell, name: str, *, set_up: Callable[[], None], set_down: Callable[[], None]
    ) -> None:
        self._shell = shell
        self._name = name
        self._set_up = set_up
        self._set_down = set_down

    def unplug(self) -> None:
        """See `Interface.unplug`."""
        self._set_down()

    def plug_in(self) -> None:
        """See `Interface.plug_in`."""
        self._set_up()

    def shape(self, *, delay_seconds: float = 0.0, loss_share: float = 0.0) -> None:
        """See `Interface.shape`."""
        rules = [f"delay {delay_seconds * 1e3:g}ms"] if delay_seconds else []
        rules += [f"loss {loss_share * 100:g}%"] if loss_share else []
        done = self._shell.run(["sh", "-c", _SHAPE, self._name, *" ".join(rules).split()])
        if done.status != 0:
            raise RigError(f"{self._name}: packets cannot be shaped: {last_line(done.stderr)}.")
