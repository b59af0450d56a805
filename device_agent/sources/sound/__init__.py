"""A recording to the float model's input, to the same bits on every machine; the host calibrates with the same code.

Nothing here asks a mathematical library for anything but what IEEE 754 fixes to the last bit: sums, differences, products, quotients and
square roots of float64, one operation an array and in an order that stands in the code. So there is no `numpy.fft`, no `numpy.log`, no
`numpy.sum` and no matrix product: each gives other last bits with another version, processor or number of threads (ADR 53).

Layout:
    prepare.py      `load_sound`: the steps in their order
    wav.py          bytes of a WAV file, whoever sent them, to one waveform
    turns.py        cosines and sines, by integers
    spectrum.py     frames, windows and their Fourier transform
    mel.py          weights of mel bands, by decimals
    logarithm.py    logarithms of arrays
    ordered.py      sums in a fixed order
    declaration.py  the table [sound] of a preprocess.toml
    proof.py        a recording that shows whether a device computes the same
"""
