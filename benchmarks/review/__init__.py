"""Review at size: how many messages ingest takes, and what it loses when everything is killed (nothing).

``python -m benchmarks.review.ingest --help`` measures the rate, ``python -m benchmarks.review.kills --help`` kills.
"""
