"""Fleets that never were, with a truth that is known: what analysis is proven on and ingest is loaded with.

Layout:
    truth.py      what is made wrong, and the `Truth` to hold findings against
    boards.py     kinds of devices: speed, power, heat
    plan.py       what fleet there is to be
    own.py        what makes one device different from another
    physics.py    load, weather, heat and throttling over time
    latency.py    what latencies a window has, as histograms
    fleet.py      `SimulatedFleet`: devices over time, in blocks of arrays
    outputs.py    what its models give
    inputs.py     what they are shown
    messages.py   its telemetry as messages, in the order of arrival
    store.py      `SimulatedStore`: answers as a `TelemetryStore` would, without a database
"""
