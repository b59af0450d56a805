"""The `onnx` package's own node tests through the float path of every lowering.

Layout:
    node_tests.py   the tests, each as it stands and with its parameters as constants
    running.py      one test through one format: passed, refused or failed
    record.py       outcomes.tsv: what every test came to, kept beside the code
    document.py     docs/operators.md from the record and the profiles
    __main__.py     `python -m tests.conformance`: run all, compare with the record or write it anew
"""
