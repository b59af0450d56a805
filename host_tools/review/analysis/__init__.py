"""What a fleet's telemetry says: windows go in, findings come out. Pure; every random draw has a seed.

Layout:
    findings.py        `Finding`, `Comparison`, `Review` and their parts: what comes out
    regroup.py         windows told apart by fewer axes, or longer ones
    percentiles.py     merging histograms, and quantiles of what was merged
    estimates.py       means, intervals and tests that a few wild devices do not decide
    multiplicity.py    p-values of many questions at once
    measures.py        what is measured of a device, by name, and how it is had from windows
    pairing.py         which devices and hours are held against which
    time_noise.py      how far two stretches of time are apart by themselves
    comparison.py      one artifact against another, on the same devices where there are any
    regressions.py     what of it is worse or better, as findings
    some_devices.py    devices that a new artifact makes worse, others not
    artifacts.py       one artifact against another, in a store
    series.py          values of devices over time
    cusum.py           whether a series changed its mean, and where
    change_points.py   when something changed
    slopes.py          slopes of many series at once
    output_drift.py    whether the models give something else than they did
    input_drift.py     whether they are shown something else
    stragglers.py      devices that are slower, or hungrier, than others like them
    throttling.py      devices that heat slows down
    presence.py        devices that are silent, and those that start again and again
    trends.py          heat, memory and batteries over days
    sensor_faults.py   sensors that cannot be right
    explanation.py     what tells affected devices from the others, and what else changed then
    wording.py         how findings say numbers, devices and artifacts
    told_once.py       findings that say the same are told once
    reading.py         what a review reads of a store
    checks.py          everything that is looked for
    review.py          all of it for a store, ordered by how grave it is
"""
