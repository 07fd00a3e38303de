"""Two processes share the queries, and both find what one finds alone."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_dcs.evaluation import Labels, ReRankedDistances, distances, rank_gallery

CHUNK = 40_000  # 13 chunks, an odd number for two


def evaluate(together: bool):
    """Everything that is shared, of features with ties."""
    distances.CHUNK = CHUNK
    rng = np.random.default_rng(0)
    qf, gf = (torch.from_numpy(rng.integers(-2, 3, (n, 6)).astype(np.float32)) for n in (260, 500))
    labels = (rng.integers(0, n, size) for n, size in ((9, 260), (9, 500), (3, 260), (3, 500)))
    labels = Labels(*labels)
    plain = rank_gallery(distances.FeatureDistances(qf, gf), labels, together=together)
    reranked = ReRankedDistances(qf, gf, together=together)
    return plain, rank_gallery(reranked, labels, together=together)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(distances, "CHUNK", CHUNK)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    subprocess.run([*command, __file__, str(tmp_path)], check=True)
    alone = evaluate(together=False)
    assert len(distances.chunks((260, 500))) == 13
    for rank in range(2):
        found, ranked = pickle.loads((tmp_path / f"{rank}.pickle").read_bytes())
        assert ranked == list(range(rank, 13, 2))
        for one, other in zip(alone, found, strict=True):
            for name in ("average_precision", "inverse_penalty", "first_match"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def _main(folder: Path) -> None:
    """What each process runs; it notes which chunks it ranked first."""
    from reid_dcs.evaluation import rank as ranking
    from reid_dcs.runtime.distributed import process_group, rank

    ranked, rank_chunk = [], ranking._rank_chunk

    def noted(rows, labels, which, *rest):
        ranked.append(distances.chunks((260, 500)).index(which))
        return rank_chunk(rows, labels, which, *rest)

    ranking._rank_chunk = noted
    with process_group(torch.device("cpu")):
        found = evaluate(together=True)
        (folder / f"{rank()}.pickle").write_bytes(pickle.dumps((found, ranked[: len(ranked) // 2])))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
