"""Top-1, top-5, classes and confusions, compared with counting image by image."""

import pytest
import torch

from reid_dcs.tasks.classification.metrics import (
    Predictions,
    concatenated,
    top_classes,
    worst_confusions,
)
from reid_dcs.tasks.classification.results import table


@pytest.fixture(params=[3, 8])
def drawn(request):
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(60, request.param, generator=random)
    labels = torch.randint(request.param - 1, (60,), generator=random)  # the last class has none
    return logits, labels, Predictions(labels, top_classes(logits), request.param)


def test_they_are_what_counting_gives(drawn):
    logits, labels, predictions = drawn
    classes = logits.shape[1]
    ranks = [int((row > row[label]).sum()) for row, label in zip(logits, labels, strict=True)]
    assert predictions.top1 == pytest.approx(sum(rank < 1 for rank in ranks) / 60)
    assert predictions.top5 == pytest.approx(sum(rank < 5 for rank in ranks) / 60)
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for row, label in zip(logits, labels, strict=True):
        confusion[label, row.argmax()] += 1
    assert torch.equal(predictions.confusion(), confusion)
    for label, accuracy in enumerate(predictions.class_accuracies().tolist()):
        own = [rank < 1 for rank, each in zip(ranks, labels, strict=True) if each == label]
        assert accuracy == pytest.approx(sum(own) / len(own)) if own else accuracy != accuracy


def test_the_worst_confusions_are_the_most_frequent_mistakes(drawn):
    confusion = drawn[2].confusion()
    found = worst_confusions(confusion, count=4)
    mistakes = confusion[~torch.eye(len(confusion), dtype=torch.bool)]
    counts = sorted(mistakes.tolist(), reverse=True)
    assert [count for *_, count in found] == counts[:4]
    assert all(i != j and confusion[i, j] == count for i, j, count in found)
    assert worst_confusions(torch.eye(3, dtype=torch.int64)) == []


def test_processes_put_their_parts_together(drawn):
    _, labels, whole = drawn
    parts = [Predictions(labels[i::2], whole.top[i::2], whole.num_classes) for i in (0, 1)]
    assert concatenated(parts).metrics() == whole.metrics()


def test_the_table_shows_the_worst_classes():
    text = table({"top1": 0.5, "top5": 0.9, "classes": {"cat": 0.2, "dog": 0.8}})
    assert "50.0%   90.0%" in text and "worst classes: cat 20.0%, dog 80.0%" in text
