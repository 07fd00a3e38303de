"""The paper's other tasks, on the backbones and the trainer of this package.

Nothing in re-identification imports them, and they import neither torchreid nor its data sets.
"""
