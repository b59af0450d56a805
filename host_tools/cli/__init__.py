"""The command `edgewright`.

A command's parser names what runs it as ``module:function``, imported only then: `edgewright --help` loads no engine.

Layout:
    main.py        the parser, exit status, errors as one line
    convert.py     edgewright convert: arguments
    conversion.py    what it does
    explain.py     edgewright explain: arguments
    explaining.py    what it does
    batch.py       edgewright batch: arguments
    batch_run.py     what it does
    batch_progress.py  one bar for all jobs, a line for each that runs
    targets.py     edgewright targets list | show | new
    inspect.py     edgewright inspect: arguments
    inspecting.py    what it does
    sound_words.py   what becomes of a recording, in words
    diff.py        edgewright diff: arguments
    diffing.py       what it does
    telemetry.py   edgewright watch, edgewright report: arguments
    listening.py     what they do
    ca.py          edgewright ca: arguments
    certifying.py    what it does
    fleet.py       edgewright fleet: its commands
    fleet_arguments.py   what their arguments have in common
    fleet_serving_arguments.py, fleet_device_arguments.py, fleet_rollout_arguments.py   arguments by what they are of
    fleet_serving.py   serve, with all that touches devices
    fleet_tokens.py    tokens, where the database is
    fleet_audit.py     the audit, where the database or an export is
    fleet_preparing.py   what asks the server: groups, releases, claims
    fleet_asking.py    what asks the server: devices, rollouts, audit list
    fleet_server.py    the server as these commands see it
    fleet_ddi.py       tokens of devices that poll over hawkBit's DDI
    fleet_sample.py    a fleet to play with
    release.py     edgewright release
    repository.py  edgewright repository
    ingest.py      edgewright ingest: arguments
    ingesting.py     what it does
    review.py      edgewright review: arguments
    reviewing.py     what it does
    hil.py         edgewright hil: arguments
    arguments.py   numbers, each with its range
    until_ended.py how commands that serve end
    progress.py    progress bars
    printing.py    tables for people, JSON for programs
    moments.py     times
    fault.py       a fault of ours in one line
    shapes.py      --shape
"""
