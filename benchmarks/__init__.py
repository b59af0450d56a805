"""Benchmarks: Edgewright beside its peers, in one run on one machine. ``python -m benchmarks --data DIR``; method in ``docs/benchmarks.md``.

Layout, in the order of a run:
    command.py        the command line: one process a benchmark, then tables, JSON and ``docs/benchmarks.md``
    options.py        what a run was asked for
    material.py       model, pictures and arrays that all benchmarks share; nobody's conversion is in it
    work_folder.py    a benchmark's own folder
    made.py           what is converted once and used by several
    float_tflite.py   a float TFLite file as a TensorFlow user would have it
    tasks.py          a measured task in a fresh process: `python -m benchmarks.task`
    task.py           one in this process
    chapter.py        one benchmark in a process of its own
    peers/            how each peer is used, one file a peer
    contestants.py    files in the bare engines, ours and theirs alike
    accuracy.py  latency.py  conversion.py  memory.py  agent/  hard/     the benchmarks
    spread.py         medians, quartiles, bootstrap
    findings.py       what a benchmark found, against which limit
    machine.py        processor, versions, date
    show.py           document.py     the terminal, the page
    marked.py         what stands between two marks of a document
    field/            the agent with everything on, as it is left in the field
    fleet/  review/  models/   rollouts at size, review at size, models of every kind: commands of their own
    power_cuts.py  power_cuts_figures.py   power cuts on a virtual board, and what they showed
"""
