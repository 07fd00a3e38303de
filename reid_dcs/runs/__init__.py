"""Entry points: train, search, evaluate."""

from reid_dcs.runs.evaluate import evaluate
from reid_dcs.runs.search import search
from reid_dcs.runs.train import train

__all__ = ["evaluate", "search", "train"]
