"""Time and memory of an evaluation: torchreid, reid_dcs and the matrix product alone.

    python benchmarks/evaluation.py [--output benchmarks/results/evaluation.md]
    python benchmarks/evaluation.py --row MSMT17 reranked 1
    python benchmarks/evaluation.py --features DIR

Features are random around one center per identity, D = 512, float32, compared by cosine distance.
Their numbers are those of Market-1501, of MSMT17, and of 500 queries against ten times the gallery
of MSMT17. torchreid's Python evaluator is timed from features to CMC and mAP, including the
distance matrix. The lower bound is the product of the two feature matrices in the same chunks as
reid_dcs uses. Functions alternate for --rounds rounds, and the fastest round counts. CPU seconds
are summed over threads; they are the fairer measure on a machine that does other work. Memory is
the peak of a process minus its memory with the features loaded.

--row measures one size with the given comma-separated functions (product, reid_dcs, torchreid,
reranked) and prints the seconds, CPU seconds and MiB of the fastest of the given rounds. --features
takes a folder with the features of an evaluation (eval.keep_features) and times nothing: it checks
that torchreid and reid_dcs agree on them.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine
from measuring import PeakMemory, write_page

D = 512
SIZES = {  # queries, gallery images, identities, cameras
    "Market-1501": (3_368, 15_913, 750, 6),
    "MSMT17": (11_659, 82_161, 3_060, 15),
    "MSMT17, ten galleries": (500, 821_610, 3_060, 15),
}
SPREAD = 2.4  # standard deviation of the features of an identity, relative to its center


def random_features(size: str) -> tuple:
    """Features and labels (qf, gf, q_pids, g_pids, q_camids, g_camids) of a size.

    A tenth of the gallery has identities that no query has.
    """
    num_query, num_gallery, identities, cameras = SIZES[size]
    rng, torch_rng = np.random.default_rng(0), torch.Generator().manual_seed(0)
    q_pids = rng.integers(0, identities, num_query)
    g_pids = rng.integers(0, identities * 10 // 9, num_gallery)
    if num_gallery > 100_000:  # all but one gallery of MSMT17 are negatives
        g_pids[82_161:] = identities
    centers = F.normalize(torch.randn(g_pids.max() + 1, D, generator=torch_rng))

    def features(pids: np.ndarray) -> torch.Tensor:
        noise = torch.randn(len(pids), D, generator=torch_rng).mul_(SPREAD / D**0.5)
        return noise.add_(centers[torch.from_numpy(pids)])

    labels = q_pids, g_pids, *(rng.integers(0, cameras, n) for n in (num_query, num_gallery))
    return features(q_pids), features(g_pids), *labels


def torchreid_evaluator(qf, gf, *labels):
    from torchreid import metrics

    distmat = metrics.compute_distance_matrix(qf, gf, "cosine").numpy()
    return metrics.evaluate_rank(distmat, *labels, use_cython=False)


def reid_dcs_evaluator(*arguments):
    from reid_dcs.evaluation import evaluate_features

    return evaluate_features(*arguments)


def reranked(qf, gf, *labels):
    from reid_dcs.evaluation import Labels, ReRankedDistances, rank_gallery

    return rank_gallery(ReRankedDistances(qf, gf), Labels(*labels)).summary()


def product(qf, gf, *_):
    """Matrix product of the features, chunk by chunk; the result is discarded."""
    from reid_dcs.evaluation.distances import chunks

    rows = chunks((len(qf), len(gf)))
    buffer = torch.empty(max(r.stop - r.start for r in rows), len(gf))
    for r in rows:
        torch.mm(qf[r], gf.T, out=buffer[: r.stop - r.start])


FUNCTIONS = {
    "product": product,
    "reid_dcs": reid_dcs_evaluator,
    "torchreid": torchreid_evaluator,
    "reranked": reranked,
}


def measure(size: str, names: list[str], rounds: int) -> None:
    """Print seconds, CPU seconds and MiB of each function."""
    import reid_dcs  # noqa: F401  silences torchreid's warning

    arguments, best = random_features(size), {}
    for _ in range(rounds):
        for name in names:
            before = resident_bytes()
            peak = PeakMemory(resident_bytes, interval=0.01)
            start, cpu_start = time.perf_counter(), time.process_time()
            FUNCTIONS[name](*arguments)
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
            measured = wall, cpu, (peak.stop() - before) / 2**20
            best[name] = min(best.get(name, measured), measured)
            print(f"{size}: {name} {wall:.2f} s, CPU {cpu:.2f} s", file=sys.stderr)
    for name, measured in best.items():
        print(name, *measured)


def measure_in_process(size: str, names: str, rounds: int) -> dict[str, list[float]]:
    """Run :func:`measure` in a separate process."""
    command = [sys.executable, __file__, "--row", size, names, str(rounds)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows = [line.split() for line in result.stdout.splitlines()[-len(names.split(",")) :]]
    return {name: [float(value) for value in values] for name, *values in rows}


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check_agreement(folder: Path) -> None:
    """Evaluate the features in ``folder`` with both libraries and print the differences."""
    from torchreid import metrics

    from reid_dcs.evaluation import evaluate_features, evaluate_rank
    from reid_dcs.evaluation.feature_cache import read_features

    query, gallery = (
        read_features(next(folder.glob(f"features-*-{split}.npz")))
        for split in ("query", "gallery")
    )
    labels = query.pids, gallery.pids, query.camids, gallery.camids
    for metric in ("cosine", "euclidean"):
        distmat = metrics.compute_distance_matrix(query.vectors, gallery.vectors, metric).numpy()
        start = time.perf_counter()
        cmc, mAP = metrics.evaluate_rank(distmat, *labels, use_cython=False)
        wall = time.perf_counter() - start
        rank_cmc, rank_mAP = evaluate_rank(distmat, *labels)
        result = evaluate_features(query.vectors, gallery.vectors, *labels, metric)
        print(
            f"{metric}, {len(query.pids):,} x {len(gallery.pids):,}: torchreid mAP {mAP:.6f}, "
            f"rank-1 {cmc[0]:.6f} ({wall:.1f} s). evaluate_rank: CMC "
            f"{'equal' if np.array_equal(cmc, rank_cmc) else 'NOT EQUAL'}, mAP off by "
            f"{abs(mAP - rank_mAP):.1e}. evaluate_features: CMC "
            f"{'equal' if np.array_equal(cmc, result.cmc) else 'NOT EQUAL'}, mAP off by "
            f"{abs(mAP - result.mAP):.1e}."
        )


def page(rounds: int) -> list[str]:
    """Measure all sizes; the lines of the result page."""
    market, msmt17, ten_galleries = SIZES
    rows = {size: measure_in_process(size, "product,reid_dcs", rounds) for size in (market, msmt17)}
    rows[ten_galleries] = measure_in_process(ten_galleries, "product,reid_dcs", 1)
    rows[market] |= measure_in_process(market, "torchreid", 1)
    lines = [
        "# Cost of an evaluation",
        "",
        f"`python benchmarks/evaluation.py --rounds {rounds}`: random features, D = {D}, "
        "float32, cosine; from features to CMC, mAP and mINP.",
        "",
        f"{machine('numpy')} {torch.get_num_threads()} threads, load {os.getloadavg()[1]:.1f}.",
        "",
        "| size | queries x gallery | | seconds | relative to the product | CPU seconds "
        "| relative to the product | memory beyond the features, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size, row in rows.items():
        num_query, num_gallery, *_ = SIZES[size]
        product_wall, product_cpu, _ = row["product"]
        for name, (wall, cpu, memory) in row.items():
            title = "product alone" if name == "product" else name
            lines.append(
                f"| {size} | {num_query:,} x {num_gallery:,} | {title} "
                f"| {wall:.2f} | {wall / product_wall:.1f}x | {cpu:.2f} | {cpu / product_cpu:.1f}x "
                f"| {memory:,.0f} |"
            )
    pairs = zip(rows[market]["torchreid"], rows[market]["reid_dcs"], strict=True)
    wall, cpu, memory = (torchreid / reid_dcs for torchreid, reid_dcs in pairs)
    lines += [
        "",
        f"At the size of Market-1501, torchreid takes {wall:.0f}x the seconds, {cpu:.0f}x the CPU "
        f"seconds and {memory:.0f}x the memory of reid_dcs.",
    ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--features", type=Path, metavar="DIR", help="check agreement only")
    parser.add_argument("--row", nargs=3, metavar=("SIZE", "FUNCTIONS", "ROUNDS"))
    options = parser.parse_args()
    if options.features:
        check_agreement(options.features)
    elif options.row:
        size, names, rounds = options.row
        measure(size, names.split(","), int(rounds))
    else:
        write_page(page(options.rounds), options.output)


if __name__ == "__main__":
    main()
