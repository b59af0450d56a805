"""What differs between two artifacts, or two files of one format: `edgewright diff A B`.

Layout:
    side.py         `Side`: one of the two, read
    differences.py  `Differences`: the types of everything that can differ
    comparing.py    `compare`: manifests, sizes, operators, executed precision
    tensors.py      constants and scales, tensor by tensor
    outputs.py      both on their engines, on the same inputs
    terminal.py     `Differences` as tables and as data
"""
