"""Where the telemetry of a fleet is kept: `TelemetryStore`, with one implementation per database.

`tables` is what goes in, `windows` what comes out; in between windows are merged, never averaged.
"""
