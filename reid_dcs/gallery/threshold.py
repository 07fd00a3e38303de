"""The distance up to which two pictures count as the same person, measured on a data set."""

from pathlib import Path
from typing import Any

import numpy as np

from reid_dcs.config.settings import ImagesConfig
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.datasets.listing import Item
from reid_dcs.evaluation import FeatureDistances, Features, Labels, verification
from reid_dcs.files import check_creatable, create_folder, write_json
from reid_dcs.inference.extractor import FeatureExtractor
from reid_dcs.runs.outside import check_outside_data
from reid_dcs.visual.verification import draw_verification

_MEASURED, _CURVE = "threshold.json", "threshold.png"


def measure_threshold(
    extractor: FeatureExtractor, dataset: str, root: str, far: float, output: Path | None = None
) -> dict[str, Any]:
    """Measure the distance that gives a wanted false-accept rate on a data set's test identities.

    These are identities that the network was not trained on, if it was trained on the data set's
    training split. For people and cameras of another kind the rate is another.

    Args:
        extractor: the network.
        dataset, root: data set and its folder.
        far: wanted false-accept rate: of pairs of two people, the fraction accepted.
        output: folder for ``threshold.json`` and the curve, ``threshold.png``.

    Returns:
        ``distance``, the largest whose rate does not exceed the wanted one; ``far`` and ``tar``
        there; numbers of pairs, data set and wanted rate.

    Raises:
        InputError: no such data set, too few pairs to tell the rate, or an output folder inside the
            data set or that cannot be written.
    """
    images = load_dataset(dataset, root, {}, ("query", "gallery"))
    if output:
        check_outside_data(output, ImagesConfig(dataset, root), images)
        for name in (_MEASURED, _CURVE):
            check_creatable(output / name)
    query, gallery = (_features(extractor, split) for split in (images.query, images.gallery))
    distances = FeatureDistances(query.vectors, gallery.vectors)
    labels = Labels(query.pids, gallery.pids, query.camids, gallery.camids)
    result = verification(distances, labels)
    distance, at_far, at_tar = result.threshold(far)
    measured = {
        "distance": distance,
        "far": at_far,
        "tar": at_tar,
        "wanted_far": far,
        "dataset": dataset,
        "pairs_of_one_person": int(result.same.sum()),
        "pairs_of_two_people": int(result.different.sum()),
        "model": extractor.card.model,
    }
    if output:
        create_folder(output)
        title = f"{extractor.card.model} on {dataset}"
        draw_verification(result, far, title, output / _CURVE)
        write_json(output / _MEASURED, measured)
    return measured


def _features(extractor: FeatureExtractor, items: list[Item]) -> Features:
    """Features of a split."""
    paths, pids, camids = zip(*((item[0], item[1], item[2]) for item in items), strict=True)
    return Features(extractor(paths), np.array(pids), np.array(camids))
