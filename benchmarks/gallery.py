"""Gallery search: insert and query time, recall@10, disk and memory.

    python benchmarks/gallery.py [--sizes 20000 200000 1000000] [--output FILE.md]

Features of 512 numbers are generated: people are random directions, pictures scatter around them.
Queries are other pictures of the same people. Milvus Lite (through the gallery's own storage),
FAISS HNSW, LanceDB, and exact search in NumPy and torch see the same features; every one runs in a
process of its own, whose peak of memory is reported. Recall@10 is against the exact ranking; with a
camera filter, FAISS and the exact searches rank the other cameras' pictures only.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine
from measuring import write_page

DIMENSION, CAMERAS, TOP, BATCH = 512, 6, 10, 1000
PICTURES = 20  # of each person
SCATTER = 0.9  # length of a picture's deviation, as a fraction of the person's direction
SYSTEMS = ("numpy", "torch", "faiss", "lancedb", "milvus FLAT", "milvus HNSW")
EF = 128  # of every graph, as the gallery's
Search = Callable[[np.ndarray, int | None], list[int]]
"""The first ten of a query (D,), without the pictures of one camera if it is given."""


def features(size: int, queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gallery (N, D), cameras (N,) and queries (Q, D), float32 of length 1."""
    random = np.random.default_rng(size)
    people = _unit(random.standard_normal((max(1, size // PICTURES), DIMENSION), np.float32))
    gallery = np.empty((size, DIMENSION), np.float32)
    for start in range(0, size, 50_000):
        who = np.arange(start, min(size, start + 50_000)) % len(people)
        gallery[start : start + 50_000] = _scatter(people[who], random)
    asked = _scatter(people[random.integers(0, len(people), queries)], random)
    return gallery, random.integers(0, CAMERAS, size), asked


def _scatter(directions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(directions.shape, np.float32) * SCATTER / DIMENSION**0.5
    return _unit(directions + noise)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# --- systems: each inserts the gallery, and returns its search -----------------------------------


def numpy_exact(gallery: np.ndarray, cameras: np.ndarray, folder: Path) -> Search:
    def search(query: np.ndarray, not_camera: int | None) -> list[int]:
        similarity = gallery @ query
        if not_camera is not None:
            similarity[cameras == not_camera] = -2
        top = np.argpartition(-similarity, TOP)[:TOP]
        return top[np.argsort(-similarity[top])].tolist()

    return search


def torch_exact(gallery: np.ndarray, cameras: np.ndarray, folder: Path) -> Search:
    import torch

    vectors, groups = torch.from_numpy(gallery), torch.from_numpy(cameras)

    def search(query: np.ndarray, not_camera: int | None) -> list[int]:
        similarity = vectors @ torch.from_numpy(query)
        if not_camera is not None:
            similarity[groups == not_camera] = -2
        return similarity.topk(TOP).indices.tolist()

    return search


def faiss_hnsw(gallery: np.ndarray, cameras: np.ndarray, folder: Path) -> Search:
    import faiss

    index = faiss.IndexHNSWFlat(DIMENSION, 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    for start in range(0, len(gallery), BATCH):
        index.add(gallery[start : start + BATCH])
    faiss.write_index(index, str(folder / "index.faiss"))
    others = [faiss.IDSelectorBatch(np.flatnonzero(cameras != camera)) for camera in range(CAMERAS)]

    def search(query: np.ndarray, not_camera: int | None) -> list[int]:
        selector = None if not_camera is None else others[not_camera]
        parameters = faiss.SearchParametersHNSW(efSearch=EF, sel=selector)
        return index.search(query[None], TOP, params=parameters)[1][0].tolist()

    return search


def lancedb_hnsw(gallery: np.ndarray, cameras: np.ndarray, folder: Path) -> Search:
    import lancedb
    import pyarrow

    schema = pyarrow.schema(
        [
            ("id", pyarrow.int64()),
            ("camera", pyarrow.int64()),
            ("vector", pyarrow.list_(pyarrow.float32(), DIMENSION)),
        ]
    )
    table = lancedb.connect(str(folder)).create_table("people", schema=schema)
    for start in range(0, len(gallery), 10 * BATCH):
        part = slice(start, min(len(gallery), start + 10 * BATCH))
        vectors = pyarrow.FixedSizeListArray.from_arrays(gallery[part].ravel(), DIMENSION)
        columns = [pyarrow.array(np.arange(part.start, part.stop)), pyarrow.array(cameras[part])]
        table.add(pyarrow.table([*columns, vectors], schema=schema))
    if len(gallery) >= 5000:
        table.create_index(
            metric="cosine", index_type="IVF_HNSW_SQ", m=16, ef_construction=200,
            num_partitions=max(1, len(gallery) // 1_000_000),
        )  # fmt: skip

    def search(query: np.ndarray, not_camera: int | None) -> list[int]:
        asked = table.search(query).distance_type("cosine").limit(TOP).ef(EF).refine_factor(4)
        if not_camera is not None:
            asked = asked.where(f"camera != {not_camera}", prefilter=True)
        return asked.select(["id", "_distance"]).to_arrow()["id"].to_pylist()

    return search


def milvus(kind: str) -> Callable[[np.ndarray, np.ndarray, Path], Search]:
    """The gallery's own storage, with the index that it chooses for small or for large ones."""

    def build(gallery: np.ndarray, cameras: np.ndarray, folder: Path) -> Search:
        from reid_dcs.gallery import Picture, store
        from reid_dcs.gallery.filters import conditions
        from reid_dcs.gallery.index import SETTLE

        store.EXACT = 0 if kind == "HNSW" else 2**62
        found = store.Store(str(folder / "people.db"), create=True)
        found.create(DIMENSION, {"format": 1})
        for start in range(0, len(gallery), BATCH):
            rows = range(start, min(len(gallery), start + BATCH))
            pictures = [Picture(f"/{i:08}.jpg", "/", camera=str(cameras[i])) for i in rows]
            found.put(pictures, gallery[rows.start : rows.stop])
            if start % SETTLE < BATCH:
                found.settle()
        found.settle()
        found.choose_index()

        def search(query: np.ndarray, not_camera: int | None) -> list[int]:
            near = found.nearest(query, TOP, conditions(not_camera=not_camera))
            return [int(each.picture.path[1:9]) for each in near]

        return search

    return build


BUILD = {
    "numpy": numpy_exact,
    "torch": torch_exact,
    "faiss": faiss_hnsw,
    "lancedb": lancedb_hnsw,
    "milvus FLAT": milvus("FLAT"),
    "milvus HNSW": milvus("HNSW"),
}


def measure(system: str, size: int, queries: int) -> dict[str, float]:
    """Measurements of one system, in this process."""
    gallery, cameras, asked = features(size, queries)
    exact = numpy_exact(gallery, cameras, Path())
    before = _peak()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        search = BUILD[system](gallery, cameras, Path(folder))
        found = {"insert": time.perf_counter() - began}
        search(asked[0], None)  # loads what is loaded at the first search
        for name, camera in (("query", None), ("filtered", 2)):
            times, recalls = [], []
            for query in asked:
                began = time.perf_counter()
                answer = search(query, camera)
                times.append(time.perf_counter() - began)
                recalls.append(len({*answer} & {*exact(query, camera)}) / TOP)
            found[name] = 1000 * float(np.median(times))
            found[f"{name} recall"] = float(np.mean(recalls))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        found["disk"] = sum(path.stat().st_size for path in files) / 2**20
    found["memory"] = _peak() - before
    return found


def _peak() -> float:
    """Peak of resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], int(given.one[1]), given.queries)))
        return
    lines = [
        "# Gallery search",
        "",
        f"`python benchmarks/gallery.py`: generated features of {DIMENSION}, {given.queries} "
        "queries one at a time, medians. Recall@10 is against the exact ranking. Filtered: without "
        "one camera of six. Memory: the peak above that of the features themselves.",
        "",
        machine("pymilvus", "milvus-lite", "faiss-cpu", "lancedb"),
        "",
        "| pictures | system | insert, s | query, ms | recall | filtered, ms | recall | disk, MiB "
        "| memory, MiB |",
        "|---" * 9 + "|",
    ]
    for size in given.sizes:
        for system in given.systems:
            command = [sys.executable, __file__, "--queries", str(given.queries)]
            ran = subprocess.run(
                [*command, "--one", system, str(size)], stdout=subprocess.PIPE, text=True
            )
            if ran.returncode:
                lines.append(f"| {size:,} | {system} | failed |" + " |" * 6)
                continue
            f = json.loads(ran.stdout.splitlines()[-1])
            lines.append(
                f"| {size:,} | {system} | {f['insert']:.1f} | {f['query']:.1f} "
                f"| {f['query recall']:.3f} | {f['filtered']:.1f} | {f['filtered recall']:.3f} "
                f"| {f['disk']:.0f} | {f['memory']:.0f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    write_page(lines, given.output)


if __name__ == "__main__":
    main()
