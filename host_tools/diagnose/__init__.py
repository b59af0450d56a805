"""Diagnose: where a target loses accuracy, layer by layer, and what would bring it back.

Layout, in the order of the work:

- ``diagnoser.py``       `diagnose`: the verb
- ``layers.py``          what runs as one: an operator with those fused into it
- ``layer_runner.py``    one layer at a time, with float or quantized weights
- ``propagation.py``     the plan's arithmetic with any layers switched to float, from any layer on
- ``fake_quantize.py``   real numbers through their codes and back
- ``measuring.py``       all of it on a few samples
- ``local_error.py``     sums of one layer's error, channel by channel
- ``tensor_fit.py``      how a tensor fits its codes
- ``histograms.py``      its numbers in bins
- ``findings.py``        why a layer loses signal
- ``remedies.py``        what to do about it, tried
- ``ratios.py``          decibels, shares, gains
- ``diagnosis.py``       the types
- ``diagnosis_file.py``  ``diagnosis.json``
- ``explanation.py``     as text; ``layer_explanation.py`` of one layer, ``sparkline.py`` draws in it
- ``suggestion.py``      the one thing to try next
- ``diagnosis_page.py``  its part of ``report.html``
"""
