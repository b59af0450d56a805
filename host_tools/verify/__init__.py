"""Verify by running: every payload on its real engine, beside the float model.

Layout:
    verification_report.py  the types of what was measured, and the budget
    verifier.py             `verify`: all targets over all samples
    candidate.py            what goes in and comes out
    contestant.py           one payload on its engine, sample after sample
    original.py             a file that was quantized already, on its own engine, beside what was made of it
    metrics.py              SQNR, top classes, differences: pure
    parity.py               an engine beside the plan's own arithmetic
    operator_parity.py      the same, operator by operator
    simulation.py           the simulator beside the engine that stands in
    output_parts.py         what of the outputs is measured by itself
    quality.py              top-1, top-5 or the user's metric
    samples.py              worst samples, and classes that changed
    layers.py               error layer by layer
    execution.py            executed precision against the plan
    latency.py              interleaved timing
    judgement.py            measures to verdict
    probes/                 how to look inside each engine
    figure_text.py          figures as tables show them
    report_file.py          report.json
    report_page.py          report.html
    node_data.py            model_explorer.json: the error of every layer over the graph
"""
