"""Facts about targets: what each kind of device can do, a source beside every fact.

Imports the standard library only.
"""
