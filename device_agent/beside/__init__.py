"""Models beside the main one: each with its own source, engine, budgets and thread; one that fails leaves the others alone.

Layout:
    further.py  one such model: begun, run, begun again after a failure
    models.py   all of them, as the agent's loop sees them
    alone.py    the same where there are none
"""
