"""`Agent`: carries out what `core` decides. The only file with the loop; it owns the threads and joins the parts to each other.

Three threads: the loop (here: core, spool, sensors, results), the worker (verify, load, test, infer) and one for the broker connection.
They share no state but what `InferenceLoop`'s meter and queue hold; everything else is reported through one inbox.
"""

from __future__ import annotations


