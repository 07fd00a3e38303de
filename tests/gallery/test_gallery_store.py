"""Storage: an index whose replacement was interrupted, and labels of many pictures."""

import shutil

import numpy as np
import pytest
from pymilvus import MilvusClient

from reid_dcs.errors import InputError
from reid_dcs.gallery import Gallery, Picture
from reid_dcs.gallery.filters import check_cameras
from reid_dcs.gallery.store import Store


def index_kind(store):
    found = store._call("describe_index", index_name="vector")
    return found and found["index_type"]


@pytest.mark.parametrize("exact, kind", [(50_000, "FLAT"), (4, "HNSW")])
def test_an_index_that_was_not_replaced_to_its_end_is_made_again(
    people, weights, query, tmp_path, monkeypatch, exact, kind
):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted(people.iterdir())[:6]:
        shutil.copy(path, folder)
    files = Store.files

    def interrupted(self, *_, **__):
        raise KeyboardInterrupt

    def as_of_a_server(self, place):
        assert index_kind(self), "a server reads no rows without an index"
        return files(self, place)

    monkeypatch.setattr(Store, "files", as_of_a_server)
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, weights)
        expected = [hit.path for hit in gallery.search(query)]
        with monkeypatch.context() as patch:
            patch.setattr("reid_dcs.gallery.store.EXACT", 4)
            patch.setattr(MilvusClient, "create_index", interrupted)
            with pytest.raises(KeyboardInterrupt):
                gallery.add(folder)
        assert index_kind(gallery.store) is None
        monkeypatch.setattr("reid_dcs.gallery.store.EXACT", exact)
        assert gallery.add(folder)[:3] == (0, 6, 0)
        assert index_kind(gallery.store) == kind
        assert [hit.path for hit in gallery.search(query)] == expected


def test_all_cameras_of_a_gallery_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("reid_dcs.gallery.store.MOST", 4)  # rows of an answer
    rare = ['" or id > "', "c\\", "door", "ü'%_"]
    cameras = [*["", *12 * ["hall"]], *rare, *12 * ["hall"]]
    store = Store(str(tmp_path / "people.db"), create=True)
    store.create(4, {"format": 1})
    pictures = [Picture(f"/x/{i}.jpg", camera=camera) for i, camera in enumerate(cameras)]
    store.put(pictures, np.ones((len(pictures), 4), np.float32) / 2)
    assert store.values("camera") == sorted({"hall", *rare})
    with pytest.raises(InputError, match="no picture of camera 9: its cameras are .*door, hall, ü"):
        check_cameras(store, "9")
    monkeypatch.setattr("reid_dcs.gallery.store._MOST_VALUES", 2)
    assert len(store.values("camera")) == 2
    store.close()
