"""The page: questions in addresses, uploads, marks, and what it refuses."""

import csv
import html
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from reid_dcs.data.datasets import load_dataset
from reid_dcs.errors import InputError
from reid_dcs.gallery import Gallery
from reid_dcs.gallery.web.app import build_app
from reid_dcs.gallery.web.question import Question

HOME = "http://127.0.0.1:8000"
HOSTS = frozenset({"127.0.0.1", "localhost"})


def client_of(gallery, **settings):
    return TestClient(build_app(gallery, **{"hosts": HOSTS} | settings), base_url=HOME)


@pytest.fixture(scope="module")
def client(gallery):
    return client_of(gallery)


def keys(page):
    """Keys of the hits of a page, in order."""
    return re.findall(r'id="same-([0-9a-f]{32})"', page.text)


def upload(client, content, name="x.jpg", **headers):
    files = [("image", (name, part, "image/jpeg")) for part in content]
    return client.post("/upload", files=files, headers={"Origin": HOME} | headers)


def first_key(client):
    return re.search(r"/\?like=([0-9a-f]{32})", client.get("/").text)[1]


def test_a_click_asks_for_a_picture_and_the_answer_is_the_search(client, gallery):
    key = first_key(client)
    page = client.get(Question(like=(key,), top=10).url())
    assert page.status_code == 200
    (asked,) = gallery.store.get([key])
    hits = gallery.search(asked.picture.path, top=11)
    assert hits[0].picture.id == key
    assert keys(page) == [hit.picture.id for hit in hits[1:]]
    for hit in hits[1:]:
        assert f"{hit.similarity:.3f}" in page.text


def test_filters_are_part_of_the_address(client, gallery):
    key = first_key(client)
    page = client.get("/", params={"like": key, "camera": "2", "top": "100"})
    found = gallery.store.get(keys(page))
    assert found and {each.picture.camera for each in found} == {"2"}
    assert "No picture meets the filters" in client.get(f"/?like={key}&since=0").text
    unknown = client.get(f"/?like={key}&not_camera=c2")
    assert unknown.status_code == 400 and "no picture of camera c2" in unknown.text
    wrong = client.get(f"/?like={key}&since=soon")
    assert wrong.status_code == 400 and "is no time" in wrong.text


def test_an_upload_asks_for_its_picture(client, gallery, query):
    page = upload(client, [query.read_bytes()])
    assert page.status_code == 200 and "?upload=" in str(page.url)
    assert keys(page) == [hit.picture.id for hit in gallery.search(query, top=24)]
    source = re.search(r'src="(/uploaded/\w+)"', page.text)[1]
    Image.open(io.BytesIO(client.get(source).content)).load()


def test_marks_are_asked_again_and_exported(client, gallery, people, tmp_path):
    question = Question(like=(first_key(client),))
    first, second, *_ = keys(client.get(question.url()))
    question = question.mark(first, "same").mark(second, "other")
    page = client.get(question.url())
    assert keys(page)[:2] == [first, second]
    assert page.text.count('aria-pressed="true"') == 2
    again = client.get(question.ask_again().url())
    assert not {first, second, *question.like} & {*keys(again)}
    vectors = [each.vector for each in gallery.store.get([*question.like, first])]
    expected = gallery.search_vector(np.stack(vectors), 24, "", [first, second, *question.like])
    assert keys(again) == [hit.picture.id for hit in expected]
    for split in ("query", "gallery"):
        table = client.get(question.url(f"/{split}.csv") + "&identity=7")
        assert table.headers["content-disposition"] == f'attachment; filename="{split}.csv"'
        (tmp_path / f"{split}.csv").write_text(table.text)
    dataset = load_dataset("folder", str(tmp_path), {}, ("query", "gallery"))
    paths = [gallery.store.get([key])[0].picture.path for key in (first, second)]
    assert [item[0] for item in dataset.gallery] == paths
    (asked,) = dataset.query
    assert [item[1] == asked[1] for item in dataset.gallery] == [True, False]


def test_a_mark_is_removed_by_the_same_mark_and_replaced_by_the_other():
    key = "a" * 32
    question = Question(like=("b" * 32,), camera="ü&=", top=7)
    same = question.mark(key, "same")
    assert (same.same, same.other) == ((key,), ())
    assert same.mark(key, "same") == question
    assert same.mark(key, "other").other == (key,) and not same.mark(key, "other").same
    address = same.ask_again().url()
    pairs = [tuple(map(str, p)) for p in parse(address)]
    assert Question.read(pairs) == same.ask_again()


def test_a_picture_whose_mark_was_removed_is_found_again(client):
    question = Question(like=(first_key(client),), top=10)
    first, second, *_ = keys(client.get(question.url()))
    again = question.mark(first, "same").mark(second, "other").ask_again()
    without = again.mark(second, "other")
    assert (without.same, without.other, without.asked) == ((first,), (), (first,))
    assert second in keys(client.get(without.url())) and without.positives == again.positives
    assert without.mark(first, "same") == question
    assert again.mark(second, "same").asked == (first, second)  # another mark still takes part


def parse(address):
    from urllib.parse import parse_qsl, urlsplit

    return parse_qsl(urlsplit(address).query)


HOSTILE = {
    "html": b"<html><script>alert(1)</script></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "truncated": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "empty": b"\x00",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_picture_is_refused_whatever_its_name(client, kind):
    page = upload(client, [HOSTILE[kind]], "../../etc/<script>.jpg")
    assert page.status_code == 400 and 'role="alert"' in page.text
    assert "<script>alert" not in page.text and "etc/" not in page.text
    assert client.get("/").status_code == 200


def test_a_decompression_bomb_and_too_large_a_file_are_refused(client, monkeypatch):
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 100_000
    refused = upload(client, [bomb.getvalue()])
    assert refused.status_code == 400 and "pixels" in refused.text
    huge = upload(client, [b"\xff\xd8" + bytes(11 * 2**20)])
    assert huge.status_code == 400 and "10 MB at most" in huge.text
    many = upload(client, [b"x"] * 9)
    assert many.status_code == 400
    assert upload(client, []).status_code == 400


def test_only_known_addresses_answer(client):
    for path in ("/../../etc/passwd", "/static/../app.py", "/crop/..%2f..%2fetc", "/x.csv"):
        assert client.get(path).status_code == 404, path
    for query in ("like=../x", "upload=1", "like=" + "A" * 32, "top=-1"):
        assert client.get(f"/?{query}").status_code == 400, query
    assert client.get("/crop/" + "0" * 32).status_code == 404
    assert client.get("/uploaded/" + "0" * 32).status_code == 400


def test_only_keys_reach_the_gallery(client, gallery, monkeypatch):
    monkeypatch.setattr(gallery.store, "get", None)
    for key in ("' or id > '", "A" * 32, "0" * 33, "0" * 32 + "%0a"):
        assert client.get(f"/crop/{key}").status_code == 404, key


@pytest.mark.parametrize("known", [True, False])
def test_a_gallery_that_fails_is_one_line(gallery, monkeypatch, known):
    client = client_of(gallery)
    if known:
        client.get("/")

    def fails(*_, **__):
        raise InputError("the gallery is damaged or full")

    monkeypatch.setattr(gallery.store, "_call", fails)
    for path in ("/", f"/?like={'0' * 32}", f"/crop/{'0' * 32}", f"/query.csv?like={'0' * 32}"):
        page = client.get(path)
        assert page.status_code == 400, path
        assert '<p class="error" role="alert">the gallery is damaged or full</p>' in page.text
        assert ("36 pictures" in page.text) == ("Or click a picture" in page.text) == known


def test_other_hosts_and_sites_are_refused(client, query):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert upload(client, [query.read_bytes()], Origin="http://evil.example").status_code == 403
    for origin in ("null", "http://[", "", "http://", "127.0.0.1:8000", f"{HOME}.evil.example"):
        assert upload(client, [query.read_bytes()], Origin=origin).status_code == 403, origin


@pytest.mark.parametrize("hosts", [HOSTS, frozenset()])
def test_a_malformed_host_is_refused(gallery, query, hosts):
    client = client_of(gallery, hosts=hosts)
    for host in ("[", "[::1", "127.0.0.1:x", "127.0.0.1@evil.example", "", "a b", "127.0.0.1/"):
        assert client.get("/", headers={"Host": host}).status_code == 400, host
        origin = f"http://{host}"
        refused = upload(client, [query.read_bytes()], Host=host, Origin=origin)
        assert refused.status_code == 400, host


def test_a_host_is_known_by_name_address_and_port(gallery):
    client = client_of(gallery, hosts=HOSTS | {"::1"})
    for host in ("127.0.0.1", "LocalHost:8000", "[::1]", "[::1]:8000"):
        assert client.get("/", headers={"Host": host}).status_code == 200, host
    assert client.get("/", headers={"Host": "[::2]"}).status_code == 400


def test_every_answer_forbids_inline_scripts(client):
    for path in ("/", "/static/page.js", "/none"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
    text = client.get("/").text
    assert not re.findall(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|javascript:", text)
    assert all(place.startswith("/") for place in re.findall(r'(?:src|href|action)="(.*?)"', text))


def test_a_token_is_needed_where_others_reach_the_page(gallery):
    client = client_of(gallery, token="secret", hosts=frozenset())
    assert client.get("/").status_code == 403
    assert client.get("/?token=wrong").status_code == 403
    page = client.get("/?token=secret&top=3")
    assert page.status_code == 200 and str(page.url) == f"{HOME}/?top=3"
    assert client.get("/").status_code == 200  # by the cookie


def test_labels_and_names_are_escaped_and_files_stay_in_their_folder(people, weights, tmp_path):
    folder = tmp_path / "<b>pictures"
    folder.mkdir()
    path, other = sorted(people.iterdir())[:2]
    shutil.copy(path, folder / '"><script>alert(1)<script>.jpg')
    shutil.copy(other, tmp_path / "secret.jpg")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    table = folder / "table.csv"
    camera = "<img src=x onerror=alert(2)>"
    names = [p.name.replace('"', '""') for p in sorted(folder.glob("*.jpg"))]
    table.write_text("path,camera\n" + "".join(f'"{name}",{camera}\n' for name in names))
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, weights, table=table)
        client = client_of(gallery)
        text = client.get("/").text
        assert "<script>alert" not in text and "<img src=x" not in text and "<b>pict" not in text
        assert html.escape(camera) in text
        stored = {p.path.rsplit("/", 1)[-1]: p.id for p in gallery.store.some(9)}
        assert client.get(f"/crop/{stored['link.jpg']}").status_code == 404
        (named,) = (key for name, key in stored.items() if name.startswith('"'))
        assert client.get(f"/crop/{named}").status_code == 200


def test_both_tables_of_marks_have_a_camera_or_neither(people, weights, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    first, second = sorted(people.iterdir())[:2]
    shutil.copy(first, folder)
    shutil.copy(second, folder / "second.jpg")
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(folder, weights)
        client = client_of(gallery)
        stored = {p.camera: p.id for p in gallery.store.some(9)}
        for like, same in ((stored[""], stored["1"]), (stored["1"], stored[""])):
            for split in ("query", "gallery"):
                table = client.get(Question(like=(like,), same=(same,)).url(f"/{split}.csv"))
                assert table.text.splitlines()[0] == "path,identity"
                assert len(table.text.splitlines()) == 2
                (tmp_path / f"{split}.csv").write_text(table.text)
            dataset = load_dataset("folder", str(tmp_path), {}, ("query", "gallery"))
            assert len(dataset.query) == len(dataset.gallery) == 1


def test_the_table_of_marks_quotes_what_it_must(client, gallery):
    key = first_key(client)
    table = client.get(f"/gallery.csv?same={key}&identity=a,%22b%22")
    ((path, identity, camera),) = list(csv.reader(io.StringIO(table.text)))[1:]
    assert (path, identity) == (gallery.store.get([key])[0].picture.path, 'a,"b"') and camera
    assert client.get(f"/gallery.csv?same={key}&identity=-1").status_code == 400
