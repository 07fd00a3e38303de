"""Distributed evaluation: two processes split the queries and get the result of a single one."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_dcs.evaluation import Labels, ReRankedDistances, distances, evaluate, rank_gallery

CHUNK_BYTES = 40_000
SHAPE, NUM_CHUNKS = (260, 500), 13  # an odd number of chunks for two ranks


def run_evaluation(distributed: bool):
    """Plain and re-ranked rankings of features with ties."""
    distances.CHUNK_BYTES = CHUNK_BYTES
    rng = np.random.default_rng(0)
    qf, gf = (torch.from_numpy(rng.integers(-2, 3, (n, 6)).astype(np.float32)) for n in SHAPE)
    labels = Labels(*(rng.integers(0, high, size) for high in (9, 3) for size in SHAPE))
    plain = rank_gallery(distances.FeatureDistances(qf, gf), labels, distributed=distributed)
    reranked = ReRankedDistances(qf, gf, distributed=distributed)
    return plain, rank_gallery(reranked, labels, distributed=distributed)


@pytest.mark.slow
def test_two_processes_get_the_result_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(distances, "CHUNK_BYTES", CHUNK_BYTES)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run([*torchrun, "--nproc-per-node", "2", __file__, str(tmp_path)], check=True)
    expected = run_evaluation(distributed=False)
    assert len(distances.chunks(SHAPE)) == NUM_CHUNKS
    for rank in range(2):
        found, ranked_chunks = pickle.loads((tmp_path / f"{rank}.pickle").read_bytes())
        assert ranked_chunks == list(range(rank, NUM_CHUNKS, 2)) * 2  # plain, then re-ranked
        for single, distributed in zip(expected, found, strict=True):
            for name in ("average_precision", "inverse_penalty", "first_match"):
                np.testing.assert_array_equal(getattr(single, name), getattr(distributed, name))


def _main(folder: Path) -> None:
    """Entry point of each process: evaluate, and record which chunks this rank processed."""
    from reid_dcs.runtime.distributed import process_group, rank

    ranked_chunks, rank_chunk = [], evaluate._rank_chunk

    def recorded(chunk, labels, rows, *options):
        ranked_chunks.append(distances.chunks(SHAPE).index(rows))
        return rank_chunk(chunk, labels, rows, *options)

    evaluate._rank_chunk = recorded
    with process_group(torch.device("cpu")):
        found = run_evaluation(distributed=True)
        (folder / f"{rank()}.pickle").write_bytes(pickle.dumps((found, ranked_chunks)))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
