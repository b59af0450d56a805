"""What every test may count on."""

import signal

# A shell's background job is started with Ctrl-C ignored, and everything that it starts inherits that: the tests of Ctrl-C would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
