"""Benchmarks: Edgewright beside its peers, in one run on one machine. ``python -m benchmarks --data DIR``; method in ``docs/benchmarks.md``.

Layout, in the order of a run:
    command.py        the command line: one process a benchmark, then tables, JSON and ``docs/benchmarks.md``
    options.py        what a run was asked for
    material.py       model, pictures and arrays that all benchmarks share; nobody's conversion is in it
    tasks.py          a measured task in a fresh process: `python -m benchmarks.task`
    peers/            how each peer is used, one file a peer
    contestants.py    files in the bare engines, ours and theirs alike
    accuracy.py  latency.py  conversion.py  memory.py  agent/  hard/     the benchmarks
    spread.py         medians, quartiles, bootstrap
    findings.py       what a benchmark found, against which limit
    machine.py        processor, versions, date
    show.py           document.py     the terminal, the page
"""
