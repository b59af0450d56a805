"""A staged rollout to a thousand devices over a real broker: what it takes, and what it costs.

Real: Mosquitto, `edgewright fleet serve`, `edgewright ingest` with its page, a signed repository over HTTP, and of each device the agent's own
state machines, spool, courier, messages, signed checks, downloads and trials, with an MQTT 5 session of its own.
Simulated: the inferences (their latencies are drawn), the sensors, the cosine of the shadow run; and that devices are separate: a few processes hold all of them,
steps of updates run on threads there, and devices share one loop.

Layout:
    devices.py       the program of one process with many devices
    device.py        one device: the agent's own parts, without its threads
    connections.py   many MQTT sessions in one loop
    steps.py         steps of updates on threads, where the agent has child processes
    inference.py     inferences that are drawn
    releases.py      what is rolled out
    programs.py      programs, each with a log
    files.py         the repository over HTTP, as one of them
    costs.py         processor and memory of programs while they run
    stand.py         everything up, in its order
    chaos.py         programs killed at random moments
    rollouts.py      one rollout, from signing to the last commit
    figures.py       what came of it, as JSON and as a table
    command.py       the command line
"""
