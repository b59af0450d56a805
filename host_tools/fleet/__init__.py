"""Provision a fleet and bring releases to it in stages, each gated on what the model does: `edgewright fleet`.

Layout:
    records/     what is stored: devices, releases, rollouts, gates, jobs, audit entries
    rollout/     the pure machine: which stage a rollout is in, why, and what must be done next; its gates
    simulation/  fleets of up to 100,000 devices through the same machine, with known truth
    field/       what touches devices: signed desired states out, their telemetry in, certificates
    store/       the records in SQL
    service.py   orders of people, reports of devices, and the rounds that make rollouts go on
    rollout_rounds.py  one rollout, brought as far as it can be brought now
    carrying_out.py  what a change of a rollout asks for, stored with it: jobs, effects, audit
    effect_runner.py  does such effects outside, until they are done
    inventory.py     what people and the authority do with devices, likewise
    placing.py       in which groups devices are
    pinning.py       devices with a desired state of their own
    whereabouts.py   which devices there are, kept at hand
    outside.py       what the service needs of the world, as protocols
    serve/       REST, tokens and roles, the page
    ddi/         devices that poll over hawkBit's DDI
    sample/      a fleet to play with, on loopback
"""
