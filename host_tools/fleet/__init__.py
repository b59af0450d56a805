"""Provision a fleet and bring releases to it in stages, each gated on what the model does: `edgewright fleet`.

Layout:
    records.py   what is stored: devices, releases, rollouts, stages, gates, jobs, audit entries
    rollout/     the pure machine: which stage a rollout is in, why, and what must be done next; its gates
    simulation/  fleets of up to 100,000 devices through the same machine, with known truth
    field/       what touches devices: signed desired states out, their telemetry in, certificates
    store/       the records in SQL
    serve/       REST, tokens and roles, the page
"""
