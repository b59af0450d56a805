"""Hardware in the loop: the same tests on a simulated board, on a real one, and on the bench.

Four nouns, cut as labgrid cuts them: a *resource* says where something is, a *protocol* what can be asked of it, a *driver* how it is
done, and the *strategy* brings a board from off to booted, agent up and model active.

Layout:
    protocols.py        what can be asked of a board: shell, files, power, network, console, disk
    senses.py           and of its senses: heat, meter, rails, battery, clocks
    rail_name.py        what a power rail may be called
    board.py            `Board`, read from a TOML of a dozen lines; boards/ has those that ship
    rigs/               one file a kind of rig: its resource, its own drivers, and how they make a `Rig`
    drivers/            drivers that any rig with a shell and files may use
    virtual/            virtual boards: how their images are built, and the machine that runs them
    rig.py              `Rig`: the board with its drivers, and which features it has
    strategy.py         off -> booted -> agent up -> model active
    agent.py            `Agent`: the agent under test
    broker.py           a real MQTT broker, and what is heard from it
    artifact.py         what is tested, and a small network for whoever brings none
    measurement.py      `Measurement`: name, unit, limits, marginal
    golden.py           outputs against golden outputs, in LSB, with a tolerance per engine
    latency.py          percentiles with the count that they need
    throttling.py       whether the processor was slowed down while figures were taken
    plugin/             the pytest plugin (``pytest --rig local``)
    report/             its page
    suites/             the tests that ship (``pytest --pyargs hil.suites --rig local``)
    scenario/           schedules of faults, temperatures, network and load, in TOML
    field/              a device's telemetry as a scenario (``edgewright hil scenario from-field``)
    gate/               suites against a release's artifacts, signed (``edgewright hil gate``)
    command.py          what ``edgewright hil`` does
"""
