"""Time and memory of an evaluation: torchreid's Python evaluator, ours, a bare matrix product.

    python benchmarks/evaluation.py [--output benchmarks/results/evaluation.md]
    python benchmarks/evaluation.py --row MSMT17 reranked 1
    python benchmarks/evaluation.py --features DIR

Features are drawn around a centre for every identity, D = 512, in the sizes of Market-1501 and
MSMT17 and, for 500 queries, with ten times the gallery of the latter; float32, cosine. torchreid is
measured from features to CMC and mAP, its distance matrix included. The floor is the product of the
two matrices in the same chunks, without looking at what comes out. Every figure is of the best of
--rounds, taken in turns; CPU seconds are those of all threads, and on a machine that does other
work the fairer measure. Memory is the peak of a process over what it held with the features.

With --row, one size, its functions by name (product, ours, torchreids, reranked) and rounds are
measured; the best seconds, CPU seconds and MiB are printed. With --features, the folder that an
evaluation left its features in (eval.keep_features), nothing is timed: both evaluate what is there,
and must agree to the last tie.
"""

import argparse
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

D = 512
SIZES = {  # queries, gallery images, identities, cameras
    "Market-1501": (3_368, 15_913, 750, 6),
    "MSMT17": (11_659, 82_161, 3_060, 15),
    "MSMT17, ten galleries": (500, 821_610, 3_060, 15),
}
TITLES = {"product": "product alone", "ours": "ours", "torchreids": "torchreid"}
SPREAD = 2.4  # of an identity's features, in lengths of its centre


def drawn(size: str) -> tuple:
    """qf, gf, q_pids, g_pids, q_camids, g_camids; a tenth of a gallery is of nobody asked for."""
    num_query, num_gallery, identities, cameras = SIZES[size]
    rng, torch_rng = np.random.default_rng(0), torch.Generator().manual_seed(0)
    q_pids = rng.integers(0, identities, num_query)
    g_pids = rng.integers(0, identities * 10 // 9, num_gallery)
    if num_gallery > 100_000:  # the rest are strangers
        g_pids[82_161:] = identities
    centres = F.normalize(torch.randn(g_pids.max() + 1, D, generator=torch_rng))

    def features(pids: np.ndarray) -> torch.Tensor:
        vectors = torch.randn(len(pids), D, generator=torch_rng).mul_(SPREAD / D**0.5)
        return vectors.add_(centres[torch.from_numpy(pids)])

    labels = q_pids, g_pids, *(rng.integers(0, cameras, n) for n in (num_query, num_gallery))
    return features(q_pids), features(g_pids), *labels


def torchreids(qf, gf, *labels):
    from torchreid import metrics

    distmat = metrics.compute_distance_matrix(qf, gf, "cosine").numpy()
    return metrics.evaluate_rank(distmat, *labels, use_cython=False)


def ours(*arguments):
    from reid_dcs.evaluation import evaluate_features

    return evaluate_features(*arguments)


def reranked(qf, gf, *labels):
    from reid_dcs.evaluation import Labels, ReRankedDistances, rank_gallery

    return rank_gallery(ReRankedDistances(qf, gf), Labels(*labels)).summary()


def product(qf, gf, *_):
    from reid_dcs.evaluation.distances import chunks

    rows = chunks((len(qf), len(gf)))
    buffer = torch.empty(max(r.stop - r.start for r in rows), len(gf))
    for r in rows:
        torch.mm(qf[r], gf.T, out=buffer[: r.stop - r.start])


def measure(size: str, names: list[str], rounds: int) -> None:
    """Print seconds and MiB for each of the functions named."""
    import reid_dcs  # noqa: F401  silences torchreid's warning

    arguments = drawn(size)
    best = {}
    for _ in range(rounds):
        for name in names:
            peak, started, cpu = _Peak(), time.perf_counter(), time.process_time()
            globals()[name](*arguments)
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            found = seconds, cpu, peak.stop() / 2**20
            best[name] = min(best.get(name, found), found)
            print(f"{size}: {name} {seconds:.2f} s, CPU {cpu:.2f} s", file=sys.stderr)
    for name, found in best.items():
        print(name, *found)


def agree(folder: Path) -> None:
    """Evaluate the features in ``folder`` by both, and say how the results differ."""
    from torchreid import metrics

    from reid_dcs.evaluation import evaluate_rank
    from reid_dcs.evaluation.feature_cache import read_features

    query, gallery = (
        read_features(next(folder.glob(f"features-*-{split}.npz")))
        for split in ("query", "gallery")
    )
    labels = query.pids, gallery.pids, query.camids, gallery.camids
    for metric in ("cosine", "euclidean"):
        distmat = metrics.compute_distance_matrix(query.vectors, gallery.vectors, metric).numpy()
        started = time.perf_counter()
        cmc, mAP = metrics.evaluate_rank(distmat, *labels, use_cython=False)
        seconds = time.perf_counter() - started
        own_cmc, own_mAP = evaluate_rank(distmat, *labels)
        result = ours(query.vectors, gallery.vectors, *labels, metric)
        print(
            f"{metric}, {len(query.pids):,} x {len(gallery.pids):,}: torchreid mAP {mAP:.6f}, "
            f"rank-1 {cmc[0]:.6f} ({seconds:.1f} s). evaluate_rank: CMC "
            f"{'equal' if np.array_equal(cmc, own_cmc) else 'NOT EQUAL'}, mAP off by "
            f"{abs(mAP - own_mAP):.1e}. evaluate_features: CMC "
            f"{'equal' if np.array_equal(cmc, result.cmc) else 'NOT EQUAL'}, mAP off by "
            f"{abs(mAP - result.mAP):.1e}."
        )


class _Peak(threading.Thread):
    """How far this process's memory rises, looked at a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before, self.done = _memory(), threading.Event()
        self.highest = self.before
        self.start()

    def run(self) -> None:
        while not self.done.wait(0.01):
            self.highest = max(self.highest, _memory())

    def stop(self) -> int:
        self.done.set()
        self.join()
        return self.highest - self.before


def _memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--features", type=Path, metavar="DIR", help="compare, time nothing")
    parser.add_argument("--row", nargs=3, metavar=("SIZE", "NAMES", "ROUNDS"))
    options = parser.parse_args()
    if options.features:
        return agree(options.features)
    if options.row:
        size, names, rounds = options.row
        return measure(size, names.split(","), int(rounds))

    def run(size: str, names: str, rounds: int) -> dict[str, list[float]]:
        command = [sys.executable, __file__, "--row", size, names, str(rounds)]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows = [line.split() for line in result.stdout.splitlines()[-len(names.split(",")) :]]
        return {name: [float(value) for value in values] for name, *values in rows}

    market, msmt17, ten = SIZES
    rows = {size: run(size, "product,ours", options.rounds) for size in (market, msmt17)}
    rows[ten] = run(ten, "product,ours", 1)
    theirs = run(market, "torchreids", 1)["torchreids"]
    lines = [
        "# The cost of an evaluation",
        "",
        f"`python benchmarks/evaluation.py --rounds {options.rounds}`: drawn features, D = {D}, "
        "float32, cosine; from features to CMC, mAP and mINP.",
        "",
        f"{_cpu()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, NumPy {np.__version__}, Python {platform.python_version()}; "
        f"load {os.getloadavg()[1]:.1f}.",
        "",
        "| size | queries x gallery | | seconds | over the product | CPU seconds "
        "| over the product | memory beyond the features, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size, row in rows.items():
        if size == market:
            row |= {"torchreids": theirs}
        floor = row["product"]
        for name, (seconds, cpu, memory) in row.items():
            lines.append(
                f"| {size} | {SIZES[size][0]:,} x {SIZES[size][1]:,} | {TITLES[name]} "
                f"| {seconds:.2f} | {seconds / floor[0]:.1f}x | {cpu:.2f} | {cpu / floor[1]:.1f}x "
                f"| {memory:,.0f} |"
            )
    ratios = [their / own for their, own in zip(theirs, rows[market]["ours"], strict=True)]
    lines += [
        "",
        f"At Market-1501's size torchreid takes {ratios[0]:.0f}x our seconds, {ratios[1]:.0f}x our "
        f"CPU seconds and {ratios[2]:.0f}x our memory.",
    ]
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").open():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
