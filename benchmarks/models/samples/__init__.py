"""Inputs of the models: what an application would feed, calibration and evaluation apart. Equal arguments give equal arrays.

Layout:
    photos.py         photos of ``--data``, resized and normalised
    text_pictures.py  lines of text, drawn; alone or on photos
    sentences.py      sentences of this documentation as tokens
    sound.py          made speech and music
    spectra.py        made spectra of a machine
"""
