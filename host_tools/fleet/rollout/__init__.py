"""The pure machine of rollouts: from what is known to what follows, without a clock, a database or a network of its own.

Only `telemetry.py` asks somebody else.

Layout:
    plan_file.py     a plan in TOML, with defaults
    plan_rules.py    `check_plan`, the one place where plans are refused, wherever they come from
    machine.py       `advance`: a rollout, its jobs, its gates and the time to its next state and what must be done
    stage_end.py     whether a stage that runs passes, waits, stops or asks a person, with the figures
    orders.py        what people do: approve, pause, abort, retry, roll back
    steps.py         what must be done, and what is said about it
    wanted.py        what the group's signed desired state must say; who belongs to which stage
    members.py       who is in a rollout while devices come and go
    windows.py       when stages may begin
    jobs.py          one device's job: what it says and what it runs move it, deadlines end it
    gates.py         candidate against previous artifact: passed, failed or undecided
    measured.py      windows of telemetry to what gates found
    telemetry.py     `TelemetryFindings`: asks a telemetry store for them
    asked_beside.py  the same in a thread of its own, so that nothing waits for it
    confidence.py    the confidence sequences that gates decide by
    explanation.py   why each stage advanced or stopped
    wording.py       how figures are said
"""
