"""Telemetry: what is measured (`histogram`, `sampler`), kept (`spool`) and sent (`mqtt`; `link` has what it is told and reports)."""
