"""What a model is and asks for, before anything is calibrated: `edgewright inspect MODEL`.

Layout:
    inspection.py     `inspect_model`: a file becomes a `ModelInspection`
    declared.py       what the file says of itself before canonicalisation: opset, dynamic axes, types of weights
    costs.py          multiply-adds, parameters and bytes of one node
    peak_memory.py    how much memory activations need at once
    support.py        what each target does with each node, as the plan and the lowering say
    cautions.py       what to know before calibrating
    payload.py        a file that is quantized already, as far as it is told cheaply
    relowering.py     how such a file is coded, and which targets can have its codes
    figures.py        numbers and names for people
    terminal.py       a `ModelInspection` as tables; payload_table.py a file that is quantized already
"""
