"""Telemetry: what is measured (`histogram`, `sampler`), kept (`spool`) and sent (`mqtt`)."""
