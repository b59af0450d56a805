"""`edgewright ingest`: the telemetry of a fleet from a broker into a store, committed and then acknowledged.

Layout, in the order of a message's way:
    settings.py     what an ingest is told, and its topic filters
    subscriber.py   an MQTT 5 session: messages as they come, acknowledgements when the caller says so
    interpreter.py  a message -> rows, or a dead letter with the reason
    fast_rows.py    rows of what comes by the thousand, without the contract's codec
    rows.py         rows of everything that the contract reads
    batching.py     rows of many messages -> Arrow tables -> bytes
    frames.py       batches from workers to the writer, and its word that they are committed
    worker.py       the process that does all of this
    writer.py       the process that has the store
    meeting_place.py  where workers find it
    backups.py      copies of the store
    child.py        how these processes begin
    child_process.py  what the supervisor knows of one
    supervisor.py   starts them, starts again what dies, ends them in order
    channel.py      what they tell the supervisor
    pauses.py       between attempts
    overview.py     how all of it is
    metrics.py      the same for Prometheus
"""
