"""Scenarios: a schedule of faults, temperatures, network and load, in TOML, the same from the same seed.

Layout:
    scenario.py    `Scenario`: what the file says
    parse.py       the file's bytes to a `Scenario`; every error names its key
    schedule.py    a scenario and a seed to what is done when; pure
    player.py      does one thing after another, on any rig
    run.py         plays a scenario, and says whether what was expected came true
"""
