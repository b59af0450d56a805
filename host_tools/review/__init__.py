"""Telemetry from the field: listen, record, show, report.

Layout:
    broker_address.py  ``mqtt://host:port`` as a value, and the files of TLS
    broker_tls.py      TLS of a connection, and why one cannot be made
    listener.py        an MQTT subscription as an iterator of `Delivery`
    recording.py       deliveries as a file of JSON lines, and back
    history.py         `History`: what each device said, without duplicates; pure
    wire_text.py         its texts made harmless to show
    boot_clock.py        when messages were made, whatever the device's clock says
    message_numbers.py   which numbers were heard, and how many were not
    power.py           watts of what sensors say: rails, batteries, energy counters
    sensor_role.py     what a reading means, by its name
    watch.py           the live view in the terminal, of all devices
    device_lines.py      the lines of one
    fitted_text.py       text that fits
    device_numbers.py  numbers as people read them
    telemetry_page.py  the page of latency, throughput, temperature and power over time
    telemetry_charts.py  its charts
    ingest/            from the broker to the store, without loss
    store/             what was said, by windows, in DuckDB or ClickHouse
    remote_telemetry.py  the same from the program that holds it
    analysis/          windows go in, findings come out: A against B, changes, drift, devices that need care; pure
    simulation/        fleets that never were, with a truth that is known
    serve/             the page of a whole fleet
    reports/           what the analysis says, for people and programs
    exports/           files, Prometheus, Grafana, OpenTelemetry
"""
