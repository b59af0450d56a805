"""What a fleet's telemetry says: windows go in, findings come out. Pure; every random draw has a seed.

Layout:
    findings.py        `Finding`, `Comparison`, `Review` and their parts: what comes out
    regroup.py         windows told apart by fewer axes, or longer ones
    percentiles.py     merging histograms, and quantiles of what was merged
    estimates.py       means, intervals and tests that a few wild devices do not decide
    multiplicity.py    p-values of many questions at once
    measures.py        what is measured of a device, by name, and how it is had from windows
    comparison.py      one artifact against another, on the same devices where there are any
    change_points.py   when something changed
    output_drift.py    whether the models give something else than they did
    stragglers.py      devices that are slower, or hungrier, than others like them
    throttling.py      devices that heat slows down
    presence.py        devices that are silent, and those that start again and again
    trends.py          heat, memory and batteries over days
    sensor_faults.py   sensors that cannot be right
    explanation.py     what tells affected devices from the others, and what else changed then
    review.py          all of it for a store, ordered by how grave it is
"""
