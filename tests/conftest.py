"""What every test may count on."""

import os
import signal

from hypothesis import HealthCheck, settings

# Examples are not timed: on a machine that does other things one that computes for a millisecond may take a second.
settings.register_profile("edgewright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewright")

# Some environments let Python keep no bytecode. The commands and agents that tests start by the thousand would then compile all that they
# import, our modules and whatever pip left uncompiled, every time anew: that would be most of what the suite costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What a shell's background job or `nohup` started with a signal ignored hands that on to everything it starts, and tests of that signal
# would wait in vain. A handler is not handed on: children begin with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)
