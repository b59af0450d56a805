"""What a device went through in the field, from a store of telemetry, as a scenario for the bench.

Layout:
    record.py      what the store has of one device in one stretch of time
    outages.py     when it was off, and when nothing of it arrived
    spans.py       samples over time: stretches of one value, and few points for many
    faults.py      power cuts, outages, throttling, lost sensors
    curves.py      temperature, load, rate of frames
    supplies.py    power, power rails, a battery
    notes.py       where steps came from, and what was left out
    recover.py     all of it as a scenario
    write.py       a scenario with its remarks as TOML
    command.py     ``edgewright hil scenario from-field``
"""
