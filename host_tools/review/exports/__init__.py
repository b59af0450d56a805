"""What is seen, for other programs.

Layout:
    tables.py      an answer of the page as CSV or Parquet
    prometheus.py  the fleet for a Prometheus to scrape
    grafana.py     a dashboard that asks for these
    otlp.py        the same measures as OpenTelemetry metrics, sent to a collector
"""
