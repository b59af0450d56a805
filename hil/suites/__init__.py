"""Tests that ship: ``pytest --pyargs hil.suites --rig local``.

test_rig.py             what every kind of rig must do; test_rig_senses.py: what it must let a board sense
test_smoke.py           it comes up, infers, reports, and ends in order
test_parity.py          outputs against the golden ones, in LSB
test_latency.py         percentiles with the count that they need; energy per inference
test_heat.py            a temperature that rises and falls
test_sustained_heat.py  a board that heats up by what it computes, for long
test_supplies.py        power rails, and a battery that runs down
test_enrolment.py       an identity from an authority of this machine
test_update_faults.py   power cuts at every step of an update
test_power_cuts.py      power cuts one after another, each in an update; cut_record.py keeps them
test_offline.py         no network for a while; no broker for a day, by hurried clocks
test_telemetry_loss.py  brokers and agents that die, links that fall silent, disks that are full
test_soak.py            the same for longer: memory, files, numbers
"""
