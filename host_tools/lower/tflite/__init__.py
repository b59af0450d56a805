"""Lowering to TFLite: the flatbuffer is written directly, channels last, without TensorFlow.

Layout:
    lowering.py     lower(): the steps, inputs and outputs
    layout.py       which order of axes each value has; axes.py, what becomes of it at a reshape
    plan_view.py    PlanView: the plan, asked node by node
    session.py      Session: the lowering in progress; reads, converts, re-lays and delivers tensors
    emit/           one function an operator; window.py turns pads into SAME, VALID or PAD
    graph.py        GraphBuilder: tensors and operators as plain data; versions.py gives each its version
    flatbuffer.py   serialize(): the bytes
"""
