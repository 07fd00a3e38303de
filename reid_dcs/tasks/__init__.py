"""The paper's other tasks, on the backbones and the trainer of re-identification."""
