"""`edgewright review serve`: the page of the whole fleet, from this machine, for whoever may see it.

Layout:
    span.py        the time that is looked at, and the level that suits it
    answers.py     what the page is told: one frozen type a view
    looked.py      what is looked at: a time, devices, artifacts
    views.py       `TelemetryStore` -> an answer: the fleet, its groups, a device, what the analysis finds
    timeline.py    the same over time
    ranking.py     the devices in an order
    heat.py        histograms over time as one grid, and quantiles of merged buckets
    measures.py    columns of windows as the numbers that people ask for
    markers.py     events as marks on the axis of time
    analyses.py    findings, which take longer: one at a time, and kept for a while
    inputs.py      what models were shown
    raw_tables.py  windows and events as they are stored, for other programs of ours
    directory.py   the devices of a store, asked for every few seconds and not for every view
    application.py HTTP: addresses, arguments, tokens, headers
    exposure.py    what whoever opens the page to others must know
    listening.py   a socket, and uvicorn without signals
    server.py      uvicorn around it, in this thread or beside a writer
    static/        the page itself: HTML, style sheet and scripts, no network
"""
