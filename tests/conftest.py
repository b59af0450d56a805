"""What every test may count on."""

import signal

from hypothesis import HealthCheck, settings

# Examples are not timed: on a machine that does other things one that computes for a millisecond may take a second.
settings.register_profile("edgewright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewright")

# What a shell's background job or `nohup` started with a signal ignored hands that on to everything it starts, and tests of that signal
# would wait in vain. A handler is not handed on: children begin with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)
