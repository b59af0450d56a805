"""Sensors: heat, power, frequency, battery and load, read from a sysfs root that tests can replace.

A value that cannot be had is absent with its reason; a failed read is never 0 and never a guess.
"""
