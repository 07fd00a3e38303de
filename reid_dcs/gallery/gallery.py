"""Gallery: people found in a collection of pictures."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from reid_dcs.data.datasets.names import JUNK, Ignored
from reid_dcs.errors import InputError
from reid_dcs.evaluation import FeatureDistances
from reid_dcs.files import exclusive
from reid_dcs.gallery.crops import whole
from reid_dcs.gallery.filters import check_cameras, conditions
from reid_dcs.gallery.finding import check_finding
from reid_dcs.gallery.index import Counts, Indexer, Reader, check_readable, check_some
from reid_dcs.gallery.network import GalleryNetwork
from reid_dcs.gallery.pictures import Hit, Picture
from reid_dcs.gallery.sources import from_paths, ignored_text, in_folder, in_table
from reid_dcs.gallery.store import MOST, FileState, Store
from reid_dcs.inference.extractor import FeatureExtractor, ImageLike

SLACK = 32  # more candidates than asked for: their distances are computed again


class Gallery:
    """Pictures of people with their features, to be searched by a picture.

    ``Gallery.open("people.db").search("query.jpg")``. A gallery is made with one network, whose
    card and hash it keeps; others are refused.

    Attributes:
        address: the path or address it was opened with.
    """

    def __init__(self, address: str, store: Store | None, device: str = "auto") -> None:
        self.address, self._store = address, store
        self._network = GalleryNetwork(address, device)

    @classmethod
    def open(
        cls, address: str | os.PathLike[str], device: str = "auto", create: bool = True
    ) -> "Gallery":
        """Open a gallery.

        Args:
            address: a path ending in ``.db``, or ``http://HOST:PORT[/COLLECTION]`` of a Milvus
                server, whose token is ``MILVUS_TOKEN`` in the environment.
            device: where the network runs, which is opened when it is first needed: ``auto``,
                ``cpu``, ``cuda``.
            create: if there is no gallery, :meth:`add` creates it; False: it is an error.

        Raises:
            InputError: a damaged gallery, no server, or without ``create`` no gallery.
        """
        address = os.fspath(address)
        is_new = create and "://" not in address and not Path(address).exists()
        gallery = cls(address, None if is_new else Store(address, create), device)
        if not create and gallery.about() is None:
            raise InputError(f"{address} is empty: reid-dcs gallery index FOLDER fills it")
        return gallery

    def close(self) -> None:
        if self._store:
            self._store.close()

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = Store(self.address, create=True)
        return self._store

    def about(self) -> dict[str, Any] | None:
        """The description of the gallery: card and hash of its weights; None if it is empty."""
        return self.store.about() if self._store else None

    def __len__(self) -> int:
        return self.store.count() if self.about() else 0

    def extractor(
        self, weights: str | Path | None = None, model: str | None = None
    ) -> FeatureExtractor:
        """The network of the gallery.

        Args:
            weights: by default those that the gallery was made with.
            model: name of the architecture, if the file does not name it.

        Raises:
            InputError: other weights than those, or a new gallery and no weights.
        """
        return self._network.open(self.about(), weights, model)

    # --- add -------------------------------------------------------------------------------------

    def add(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        weights: str | Path | None = None,
        *,
        model: str | None = None,
        table: str | Path | None = None,
        reader: Reader = whole,
        videos: bool = False,
    ) -> Counts:
        """Bring the gallery up to date with a folder, or add files.

        Of a folder, only new and changed files are read, and what was deleted there is removed.
        All people of a gallery are found in one way: a reader with other ``settings`` is refused,
        and so is :func:`~reid_dcs.gallery.crops.whole` for files in which people were found.
        One process at a time adds to a gallery in a file; others wait. An interrupted call can be
        repeated: what is stored is kept.

        Args:
            paths: a folder, a file, or several files.
            weights, model: see :meth:`extractor`; may be left out if the gallery is not new.
            table: CSV file that names the folder's pictures with ``path``, ``identity``,
                ``camera`` and ``time``; stored pictures get its labels, too. Files that it does
                not name are left alone.
            reader: finds the people in a file; by default the whole file is one picture.
            videos: index videos, too.

        Raises:
            InputError: missing files, other weights, another reader, or a gallery that cannot be
                written.
        """
        if isinstance(paths, str | os.PathLike):
            paths = [paths]
        files = [Path(os.path.abspath(os.path.expanduser(path))) for path in paths]
        folder = files[0] if len(files) == 1 and files[0].is_dir() else None
        if len(files) == 1 and not files[0].exists():
            raise InputError(f"no pictures at {files[0]}: check the path")
        if table and not folder:
            raise InputError(f"{table} names the pictures of a folder: pass that folder")
        extractor = self.extractor(weights, model)

        ignored = Ignored(list)

        def sources(ignored: Ignored) -> Iterable[Picture]:
            if not folder:
                return from_paths(files)
            if table:
                return in_table(Path(table), folder, ignored)
            return in_folder(folder, videos, ignored)

        total = check_some(sources(ignored), table or folder or "the list", ignored)
        if self.about() is None:
            check_readable(sources(Ignored(list)), reader)
            about = self._network.describe(extractor)
            self.store.create(about["dimension"], about)
        with self._one_writer():
            self.extractor()  # another process may just have created the gallery
            self.store.restore_index()
            known: dict[str, Mapping[str, FileState]] = {}
            for path in [folder] if folder else files:
                known |= self.store.files(str(path))
            check_finding(self.address, self.store, reader, known)
            indexer = Indexer(self.store, extractor, reader, relabel=bool(table))
            junk = {os.path.abspath(path) for path in ignored[JUNK]}
            indexer.run(sources(Ignored(list)), known, total, junk)
        if others := ignored_text(ignored):
            print(f"warning: ignored: {others}", file=sys.stderr)
        return indexer.counts()

    def _one_writer(self) -> Any:
        folder = self.store.folder
        if folder is None:
            return nullcontext()
        waiting = f"waiting for another process that adds to {self.address}"
        return exclusive(folder / "ADDING", waiting)

    # --- search ----------------------------------------------------------------------------------

    def search(
        self,
        image: ImageLike | Sequence[ImageLike],
        top: int = 10,
        *,
        not_camera: str | int | None = None,
        camera: str | int | None = None,
        since: int | None = None,
        until: int | None = None,
        weights: str | Path | None = None,
    ) -> list[Hit]:
        """The pictures most similar to a person.

        Args:
            image: a picture of the person, as of :class:`reid_dcs.FeatureExtractor`; or several
                pictures of the same person, whose features are averaged.
            top: number of hits, at most 16,000.
            not_camera, camera: only pictures of other cameras, of this camera.
            since, until: only pictures of this time or later, earlier than this time; in ms, as in
                :class:`Picture`.
            weights: see :meth:`extractor`.

        Raises:
            InputError: an empty gallery, other weights, a camera that it does not have, or an
                unreadable picture.
        """
        if self.about() is None:
            raise InputError(f"{self.address} is empty: reid-dcs gallery index FOLDER fills it")
        check_cameras(self.store, camera, not_camera)
        features = self.extractor(weights)(image)  # (N, D)
        if not len(features):
            raise InputError("no picture to search for")
        where = conditions(not_camera=not_camera, camera=camera, since=since, until=until)
        return self.search_vector(features.numpy(), top, where)

    def search_vector(
        self, features: np.ndarray, top: int, where: str = "", exclude: Iterable[str] = ()
    ) -> list[Hit]:
        """The pictures most similar to the mean of features.

        Candidates come from the index; they are ranked by the evaluation's cosine distances.

        Args:
            features: (N, D) float32, of length 1.
            where: filter; see :func:`conditions`.
            exclude: keys of pictures to leave out.
        """
        excluded = set(exclude)
        question = F.normalize(torch.from_numpy(features).mean(0, keepdim=True))  # (1, D)
        limit = min(MOST, max(2 * top, top + SLACK) + len(excluded))
        found = self.store.nearest(question[0].numpy(), limit, where)
        found = [each for each in found if each.picture.id not in excluded]
        if not found:
            return []
        vectors = torch.from_numpy(np.stack([each.vector for each in found]))
        distances = FeatureDistances(question, vectors)[:1][0].numpy()
        order = sorted(range(len(found)), key=lambda i: (distances[i], found[i].picture.path))
        threshold = self.threshold()
        return [
            Hit(
                found[i].picture,
                1 - float(distances[i]),
                None if threshold is None else bool(distances[i] <= threshold["distance"]),
            )
            for i in order[:top]
        ]

    # --- threshold -------------------------------------------------------------------------------

    def threshold(self) -> dict[str, Any] | None:
        """The distance below which a hit counts as the same person, and where it is from."""
        return (self.about() or {}).get("threshold")

    def set_threshold(self, threshold: dict[str, Any]) -> None:
        """Store a threshold in the gallery."""
        self.store.describe({**(self.about() or {}), "threshold": threshold})
