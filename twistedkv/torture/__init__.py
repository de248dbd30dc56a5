"""The product, demonstrated: clients and faults against a throw-away local cluster, and a verdict.

A run has a plan, which its seed decides (`plan`), a cluster of real processes, none of which outlives it (`cluster`,
`warden`), recorded clients (`traffic`), faults as far as the promise of the cluster allows (`promise`, `faults`), and
an end: everything is mended, read once more and checked (`run`). It is watched meanwhile (`view`), and drawn afterwards
(`plot`).
"""
