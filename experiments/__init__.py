"""Experiments on the frame networks: small, seeded, one command each.

``python -m experiments NAME --data SONGS``. What is compared: :mod:`experiments.table`; what is
trained: :mod:`experiments.arms`; results: ``docs/results/frame-experiments.md``.
"""
