"""How far has a training pulled all features together?

    python benchmarks/studies/collapse.py FOLDER [FOLDER ...]

For each checkpoint below the folders (of an ablation, or of single runs): its mAP, and the spread
of the pooled features, before the BN neck, sqrt(sum of their variances) / |their mean|, from the
neck's running statistics. With `train.triplet_feature=before_neck` the triplet loss sees these
features. With a margin, a batch-hard one can lower itself to the margin by giving all images the
same feature (Hermans et al., 2017); the identity loss, which sees the features after the neck, does
not notice. Prints rows in Markdown, by spread, and the rank correlation of spread and mAP.
"""

import argparse
import json
from pathlib import Path

from scipy.stats import spearmanr

from reid_dcs.weights import read_weights


def spread(checkpoint: Path) -> float:
    """sqrt(sum of the variances of the pooled features) / norm of their mean."""
    state = read_weights(checkpoint)["state_dict"]
    return (state["neck.running_var"].sum().sqrt() / state["neck.running_mean"].norm()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    rows = []
    for folder in options.folders:
        for metrics in folder.rglob("metrics.json"):
            checkpoint = metrics.with_name("checkpoint.pt")
            if checkpoint.exists():
                mAP = json.loads(metrics.read_text())["mAP"]
                rows.append((spread(checkpoint), mAP, metrics.parent.relative_to(folder)))
    print("| run | spread | mAP |\n|---|---|---|")
    for value, mAP, name in sorted(rows):
        print(f"| {name} | {value:.3f} | {100 * mAP:.1f} |")
    if len(rows) < 3:
        return
    spreads, scores, _ = zip(*rows, strict=True)
    print(f"\nRank correlation of {len(rows)} runs: {spearmanr(spreads, scores).statistic:.2f}")


if __name__ == "__main__":
    main()
