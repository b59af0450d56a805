"""Worked examples: whole runs of Edgewright on real models, each in a folder of its own."""
