"""Plan: statistics, profile and recipe become a `QuantizationPlan`, purely.

Layout, in the order of the work:

- ``planner.py``            `plan`: the verb
- ``topology.py``           the canonical graph as names: nodes, values, who reads what, which input is data, weight or bias
- ``support.py``            capability rules; each rule's docstring is the user's message
- ``fusion.py``             chains that run as one operator
- ``placement.py``          which node runs in which precision
- ``grouping.py``           values that must share one scale
- ``distributions.py``      statistics of one tensor or of several together
- ``masks.py``              what a mask takes out of an attention needs no code
- ``activations.py``        qparams of activations and constants
- ``weights.py``            qparams of weights
- ``settling.py``           biases, weight sums and requantization ratios made to fit
- ``revisions.py``          what one attempt teaches the next
- ``assembly.py``           the entries, each with its reason
- ``qparams.py``            pure arithmetic of scales and zero points
- ``check.py``              every promise of a plan, verified
- ``checked_plan.py``       a plan beside the model and the target that it is judged by
- ``check_nodes.py``, ``check_values.py``, ``check_arithmetic.py``  the promises, by what they are of
- ``plan_file.py``          ``plan.json``
- ``plan_tables.py``        what stands in it of a node, a tensor, an edge
- ``plan_reader.py``        the same, read and checked
- ``explain.py``            a plan as text
- ``disjoint_sets.py``      names that belong together
- ``quantization_plan.py``  the types
"""
