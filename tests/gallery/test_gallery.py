"""Gallery: what is indexed is found, exactly ranked, and kept up to date with the files."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image

from reid_dcs import FeatureExtractor, build_model
from reid_dcs.errors import InputError
from reid_dcs.gallery import Gallery, Picture
from reid_dcs.gallery.filters import conditions
from reid_dcs.gallery.store import Store
from reid_dcs.gallery.threshold import _features


def copy(people, folder, number=6):
    folder.mkdir()
    for path in sorted(people.iterdir())[:number]:
        shutil.copy(path, folder)
    return folder


def test_a_search_is_the_exact_ranking_of_the_features(gallery, people, weights, query):
    extract = FeatureExtractor(weights, device="cpu")
    files = sorted(people.iterdir())
    similarity = (extract(files) @ extract(query)[0]).numpy()  # slow and obvious
    expected = [str(files[i]) for i in np.argsort(-similarity, kind="stable")]
    hits = gallery.search(query, top=36)
    assert [hit.path for hit in hits] == expected
    np.testing.assert_allclose([h.similarity for h in hits], -np.sort(-similarity), atol=1e-5)
    assert [hit.path for hit in gallery.search(query, top=3)] == expected[:3]
    assert len(gallery) == 36


def test_several_pictures_of_one_person_are_one_question(gallery, people, weights):
    files = sorted(people.iterdir())
    extract = FeatureExtractor(weights, device="cpu")
    mean = torch.nn.functional.normalize(extract(files[:3]).mean(0), dim=0)
    best = int((extract(files) @ mean).argmax())
    assert gallery.search(files[:3], top=1)[0].path == str(files[best])


def test_cameras_are_filtered(gallery, query):
    cameras = {hit.camera for hit in gallery.search(query, top=36)}
    assert cameras == {"1", "2", "3", "4", "5", "6"}
    assert {hit.camera for hit in gallery.search(query, 36, not_camera=2)} == cameras - {"2"}
    assert {hit.camera for hit in gallery.search(query, 36, camera="2")} == {"2"}


def test_pictures_without_a_time_are_neither_late_nor_early(gallery, query):
    assert gallery.search(query, since=0) == gallery.search(query, until=10**15) == []


def test_only_new_changed_and_deleted_files_are_read(people, weights, tmp_path):
    folder = copy(people, tmp_path / "pictures")
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        assert gallery.add(folder, weights)[:3] == (6, 0, 0)
        assert gallery.add(folder)[:3] == (0, 6, 0)
        first, second, third, *_ = sorted(folder.iterdir())
        shutil.copy(third, first)
        second.unlink()
        shutil.copy(third, folder / "0099_c9.jpg")
        assert gallery.add(folder)[:3] == (2, 4, 1)
        hits = gallery.search(third, top=10)
        same = {hit.path for hit in hits if hit.similarity > 0.9999}
        assert same == {str(first), str(third), str(folder / "0099_c9.jpg")}
        assert len(hits) == len(gallery) == 6
        (folder / "0099_c9.jpg").write_bytes(b"no picture any more")
        counts = gallery.add(folder)
        assert counts[:3] == (0, 5, 1) and "0099_c9.jpg" in counts.failed[0]


def test_an_empty_folder_does_not_empty_the_gallery(people, weights, tmp_path):
    folder = copy(people, tmp_path / "pictures", 2)
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, weights)
        shutil.rmtree(folder)
        with pytest.raises(InputError, match="no pictures"):
            gallery.add(folder)
        folder.mkdir()
        with pytest.raises(InputError, match="nothing was removed"):
            gallery.add(folder)
        assert len(gallery) == 2


@pytest.mark.parametrize("other", ["numbers", "architecture", "no card"])
def test_other_weights_are_refused(gallery, query, weights, tmp_path, other):
    content = torch.load(weights, weights_only=True)
    if other == "numbers":
        content["state_dict"][next(iter(content["state_dict"]))] += 1
    else:
        content["state_dict"] = build_model("mobilenetv2_dcs", 5).state_dict()
        content["model"]["name"] = "mobilenetv2_dcs"
    torch.save(content["state_dict"] if other == "no card" else content, tmp_path / "other.pt")
    with pytest.raises(InputError, match="was made with mobilenetv2_base .* another network"):
        Gallery.open(gallery.address, device="cpu").search(query, weights=tmp_path / "other.pt")


def test_a_wrong_model_that_was_given_is_named(gallery, weights):
    with pytest.raises(InputError, match="holds mobilenetv2_base, not osnet.*leave --model out"):
        Gallery.open(gallery.address, device="cpu").extractor(weights, "osnet_x1_0")


def test_labels_with_quotes_and_other_characters_are_only_text(people, weights, tmp_path):
    folder = copy(people, tmp_path / 'a "folder" \\ with ü', 3)
    cameras = ['" or id > "', "c\\", "ü'%_"]
    rows = zip(sorted(folder.iterdir()), cameras, strict=True)
    lines = ['"{}",{}'.format(p.name, '"' + c.replace('"', '""') + '"') for p, c in rows]
    (folder / "table.csv").write_text("path,camera\n" + "\n".join(lines), encoding="utf-8")
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        assert gallery.add(folder, weights, table=folder / "table.csv").added == 3
        image = next(folder.glob("*.jpg"))
        for camera in cameras:
            assert [hit.camera for hit in gallery.search(image, camera=camera)] == [camera]
            assert camera not in {h.camera for h in gallery.search(image, not_camera=camera)}
        assert gallery.add(folder, table=folder / "table.csv")[:2] == (0, 3)


def test_names_that_are_not_utf8_are_left_out(people, weights, tmp_path, capsys):
    folder = copy(people, tmp_path / "pictures", 1)
    (path,) = folder.iterdir()
    shutil.copy(path, os.fsencode(folder) + b"/0001_c1_\xff.jpg")
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        counts = gallery.add(folder, weights)
    assert counts.added == 1 and "not UTF-8" in counts.failed[0]


def test_files_can_be_added_and_an_image_searched_without_a_file(people, weights, tmp_path):
    files = sorted(people.iterdir())[:3]
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        assert gallery.add(files[:2], weights).added == 2
        assert gallery.add(files[2]).added == 1
        assert gallery.add(files)[:3] == (0, 3, 0)
        assert gallery.search(Image.open(files[1]), top=1)[0].path == str(files[1])


def test_a_second_connection_sees_the_same_gallery(gallery, query):
    with Gallery.open(gallery.address, device="cpu", create=False) as again:
        assert [h.path for h in again.search(query)] == [h.path for h in gallery.search(query)]
    assert gallery.search(query)


def test_many_threads_search_a_gallery_that_is_just_being_loaded(tmp_path, monkeypatch):
    """The first to come loads the index; the others wait for it."""
    from milvus_lite.engine.collection import Collection

    place, picture = str(tmp_path / "people.db"), Picture("/people/1.jpg")
    vector = np.ones(4, np.float32) / 2
    store = Store(place, create=True)
    store.create(4, {"format": 1})
    store.put([picture], vector[None])
    store.settle()
    store.close()
    build = Collection._build_or_load_segment_index

    def slowly(self, *arguments):
        time.sleep(0.3)
        return build(self, *arguments)

    monkeypatch.setattr(Collection, "_build_or_load_segment_index", slowly)
    store = Store(place)
    together = Barrier(8)

    def search():
        together.wait()
        return [each.picture for each in store.get([picture.id]) + store.nearest(vector, 5)]

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(search) for _ in range(8)]
        assert [answer.result() for answer in answers] == 8 * [2 * [picture]]
    store.close()


def test_the_graph_ranks_nearly_as_the_exact_search(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    vectors = random.standard_normal((600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = Store(str(tmp_path / "x.db"), create=True)
    store.create(16, {"format": 1})
    pictures = [Picture(f"/x/{i}.jpg", "/x", camera=str(i % 3)) for i in range(600)]
    store.put(pictures, vectors)
    store.settle()
    exact = [[n.picture.path for n in store.nearest(v, 10)] for v in vectors[:10]]
    monkeypatch.setattr("reid_dcs.gallery.store.EXACT", 500)
    store.choose_index()
    graph = [[n.picture.path for n in store.nearest(v, 10)] for v in vectors[:10]]
    recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(exact, graph, strict=True)])
    assert recall > 0.95
    (near,) = store.nearest(vectors[4], 1, conditions(camera="1"))
    np.testing.assert_array_equal(near.vector, vectors[4])
    store.close()


def test_wrong_places_are_one_line(tmp_path, people):
    for address, said in [
        ("people", "must end in .db"),
        ("none.db", "no gallery at"),
        ("http://127.0.0.1:9", "no Milvus server"),
        ("http://127.0.0.1:9/a-b", "not the name of a collection"),
    ]:
        place = address if "://" in address else tmp_path / address
        with pytest.raises(InputError, match=said) as refused:
            Gallery.open(place, create=False)
        assert "\n" not in str(refused.value)
    (tmp_path / "file.db").write_text("x")
    with pytest.raises(InputError, match="not a gallery"):
        Gallery.open(tmp_path / "file.db")
    with pytest.raises(InputError, match="is new: pass --weights"):
        Gallery.open(tmp_path / "new.db").add(people)
    assert not (tmp_path / "new.db").exists()


def test_a_new_gallery_remembers_weights_that_were_given_before(people, weights, query, tmp_path):
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.extractor(weights)
        gallery.add(people)
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        assert len(gallery.search(query, 3)) == 3


def test_a_table_is_of_a_folder(people, weights, tmp_path):
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        with pytest.raises(InputError, match="names the pictures of a folder"):
            gallery.add(next(people.iterdir()), weights, table="people.csv")


def test_a_table_that_names_some_files_removes_no_others(people, weights, tmp_path):
    folder = copy(people, tmp_path / "pictures", 4)
    first, second, third, _ = sorted(folder.iterdir())
    table = tmp_path / "table.csv"
    table.write_text(f"path,identity\n{first},7\n{second},-1\n")
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, weights)
        third.unlink()
        counts = gallery.add(folder, table=table)
        assert (counts.added, counts.removed, counts.relabeled) == (0, 2, 1)  # junk, and deleted
        assert {p.path for p in gallery.store.some(9)} == {*map(str, folder.iterdir())} - {
            str(second)
        }


def test_a_table_that_is_added_or_corrected_relabels_stored_pictures(people, weights, tmp_path):
    folder = copy(people, tmp_path / "pictures", 3)
    table, files = tmp_path / "table.csv", sorted(folder.iterdir())
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, weights)
        before = {n.picture.id: n.vector for n in everything(gallery)}
        for labels, relabeled in (
            (("x,hall,5",) * 3, 3),
            (("x,hall,5", "y,door,6", "x,hall,5"), 1),
        ):
            lines = [f"{path},{each}" for path, each in zip(files, labels, strict=True)]
            table.write_text("\n".join(["path,identity,camera,time", *lines]))
            counts = gallery.add(folder, table=table)
            assert (counts.added, counts.unchanged, counts.removed) == (0, 3 - relabeled, 0)
            assert counts.relabeled == relabeled
        assert f"{counts}" == "0 added, 2 unchanged, 0 removed, 1 relabeled"
        found = everything(gallery)
        labels = {
            n.picture.path: (n.picture.identity, n.picture.camera, n.picture.time) for n in found
        }
        assert labels == {
            str(path): ("y", "door", 6000) if path == files[1] else ("x", "hall", 5000)
            for path in files
        }
        for each in found:
            np.testing.assert_array_equal(each.vector, before[each.picture.id])
        assert gallery.add(folder)[:3] == (0, 3, 0)  # without a table labels stay
        assert {n.picture.identity for n in everything(gallery)} == {"x", "y"}


def everything(gallery):
    return gallery.store.get([picture.id for picture in gallery.store.some(99)])


def test_two_networks_do_not_begin_one_gallery(people, weights, query, tmp_path):
    content = torch.load(weights, weights_only=True)
    content["state_dict"][next(iter(content["state_dict"]))] += 1
    torch.save(content, tmp_path / "other.pt")
    first, second = (copy(people, tmp_path / name, 2) for name in ("first", "second"))
    place = tmp_path / "people.db"
    with Gallery.open(place, device="cpu") as one, Gallery.open(place, device="cpu") as two:
        two.extractor(tmp_path / "other.pt")
        one.add(first, weights)
        for _ in range(2):
            with pytest.raises(InputError, match="other.pt is another network"):
                two.add(second)
        with pytest.raises(InputError, match="other.pt is another network"):
            two.search(query)
        assert len(two) == 2
        two.extractor(weights)
        assert two.search(query, 1)[0].path == one.search(query, 1)[0].path


def test_other_weights_that_were_refused_are_not_kept(people, weights, query, tmp_path):
    folder = copy(people, tmp_path / "pictures", 2)
    content = torch.load(weights, weights_only=True)
    content["state_dict"][next(iter(content["state_dict"]))] += 1
    torch.save(content, tmp_path / "other.pt")
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, weights)
        with pytest.raises(InputError, match="another network"):
            gallery.search(query, weights=tmp_path / "other.pt")
        assert len(gallery.search(query)) == 2


def test_pictures_are_cropped_as_the_card_says(people, weights, tmp_path):
    folder = copy(people, tmp_path / "pictures", 2)
    content = torch.load(weights, weights_only=True)
    content["preprocessing"]["center_crop"] = 0.6
    torch.save(content, tmp_path / "crop.pt")
    extract = FeatureExtractor(tmp_path / "crop.pt", device="cpu")
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, tmp_path / "crop.pt")
        for each in everything(gallery):
            expected = extract(each.picture.path)[0].numpy()
            np.testing.assert_allclose(each.vector, expected, atol=1e-6)
    items = [(str(path), 1, 2) for path in sorted(folder.iterdir())]
    expected = extract(sorted(folder.iterdir()))
    torch.testing.assert_close(_features(extract, items).vectors, expected)
