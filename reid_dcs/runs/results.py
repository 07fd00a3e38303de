"""Results of Re-ID runs: the content of metrics.json, and its table."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from reid_dcs.config import Run
from reid_dcs.data.datasets.joint import JointDataset
from reid_dcs.data.datasets.listed import ListedDataset
from reid_dcs.engine.reid import mean_metrics
from reid_dcs.evaluation import RankResult
from reid_dcs.models.complexity import complexity


def metrics_of(
    config: Run, dataset: ListedDataset | JointDataset, model: nn.Module, result: RankResult
) -> dict[str, Any]:
    """Content of ``metrics.json``: metrics as fractions, counts, model and data set."""
    cost = complexity(model, (3, config.data.height, config.data.width))
    return {
        **result.metrics(),
        "num_query": len(dataset.query),
        "num_gallery": len(dataset.gallery),
        "num_valid": result.num_valid,
        "dataset": config.data.name,
        "official_split": not dataset.unofficial,
        "trained_on_test_images": dataset.trained_on_test,
        "same_camera_excluded": dataset.cameras_known,
        "model": config.model.name,
        "params": cost.params,
        "total_macs": cost.total_macs,
        "height": config.data.height,
        "width": config.data.width,
        "metric": config.eval.metric,
    }


def metrics_of_parts(dataset: JointDataset, results: Mapping[str, RankResult]) -> dict[str, Any]:
    """Entries of ``metrics.json`` of several test sets: the mean of the metrics, and each."""
    return mean_metrics(results) | {
        "num_valid": sum(result.num_valid for result in results.values()),
        "datasets": {
            name: {
                **results[name].metrics(),
                "num_query": len(part.query),
                "num_gallery": len(part.gallery),
                "num_valid": results[name].num_valid,
                "official_split": not part.unofficial,
                "trained_on_test_images": part.trained_on_test,
                "same_camera_excluded": part.cameras_known,
            }
            for name, part in dataset.parts.items()
        },
    }


def table(metrics: dict[str, Any]) -> str:
    """Format mAP, rank-1, -5 and -10, and mINP as a table, in per cent."""
    names = ("mAP", "rank1", "rank5", "rank10", "mINP")
    lines = ["  ".join(f"{name:>6}" for name in names)]
    rows = {"": metrics} if "datasets" not in metrics else metrics["datasets"] | {"mean": metrics}
    for title, row in rows.items():
        lines.append("  ".join(f"{row[name]:6.1%}" for name in names) + f"  {title}".rstrip())
    return "\n" + "\n".join(lines)
