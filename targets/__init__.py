"""Facts about targets: what each kind of device can do, with a source beside every fact. Imports the standard library only."""
