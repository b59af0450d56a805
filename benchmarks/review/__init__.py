"""Review at size: what ingest takes and loses (nothing), what stores answer, how often the analysis is right.

``python -m benchmarks.review.NAME --help`` tells of each.
"""
