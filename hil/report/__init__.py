"""The page of ``--rig-report``: self-contained, in the style of every other page."""
