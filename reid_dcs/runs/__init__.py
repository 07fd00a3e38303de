"""Entry points: train, search, evaluate, worth."""

from reid_dcs.runs.evaluate import evaluate
from reid_dcs.runs.search import search
from reid_dcs.runs.train import train
from reid_dcs.runs.worth import worth

__all__ = ["evaluate", "search", "train", "worth"]
