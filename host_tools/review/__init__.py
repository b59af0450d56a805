"""Telemetry from the field: listen, record, show, report.

Layout:
    broker_address.py  ``mqtt://host:port`` as a value
    listener.py        an MQTT subscription as an iterator of `Delivery`
    recording.py       deliveries as a file of JSON lines, and back
    history.py         `History`: what each device said, without duplicates; pure
    watch.py           the live table in the terminal
    telemetry_page.py  the page of latency, throughput, temperature and power over time
"""
