"""The cache: verified files only, and one download for several processes."""

import hashlib
import multiprocessing

import pytest
from helpers.commands import assert_refused
from helpers.zoo_server import HALF, Server
from test_sources import CONTENT, entry, impatient, serve  # noqa: F401

from reid_dcs import InputError
from reid_dcs.zoo import cache, cache_folder, download, manifest, verify


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("REID_DCS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("REID_DCS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "reid_dcs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/reid_dcs"


def test_a_file_in_the_cache_is_not_downloaded_again(serve, tmp_path):  # noqa: F811
    server = serve()
    for _ in range(2):
        download("some", entry(server.url), tmp_path)
    assert len(server.ranges) == 1


def damaged(path):
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    return path


def test_a_damaged_file_is_downloaded_again_if_its_hash_is_known(serve, tmp_path, capsys):  # noqa: F811
    server = serve()
    path = damaged(download("some", entry(server.url), tmp_path))
    assert download("some", entry(server.url), tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 2
    assert f"{path} has the sha256" in capsys.readouterr().err


def test_a_damaged_file_stays_if_the_download_fails(serve, tmp_path):  # noqa: F811
    server = serve("", "absent")
    path = damaged(download("some", entry(server.url), tmp_path))
    with pytest.raises(InputError, match="status 404"):
        download("some", entry(server.url), tmp_path)
    assert path.is_file()


def test_a_file_that_changed_since_the_first_download_is_refused(serve, tmp_path):  # noqa: F811
    server = serve()
    path = damaged(download("some", entry(server.url, known=False), tmp_path))
    with pytest.raises(InputError, match=f"{path} has the sha256 .* delete it"):
        download("some", entry(server.url, known=False), tmp_path)


def test_another_file_behind_the_same_address_is_refused(serve, tmp_path):  # noqa: F811
    server = serve()
    path = download("some", entry(server.url, known=False), tmp_path)
    record = tmp_path / "weights.pth.sha256"
    assert record.read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  weights.pth\n"
    path.unlink()
    server.content = CONTENT + b"\0"
    with pytest.raises(InputError, match="recorded at the first download"):
        download("some", entry(server.url, known=False), tmp_path)
    assert not path.exists()


def test_a_file_put_there_by_hand_is_weights_and_its_hash_is_recorded(serve, tmp_path):  # noqa: F811
    server = serve()
    path = tmp_path / "weights.pth"
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match=f"{path} is not a file of weights: delete it"):
        download("some", entry(server.url, known=False), tmp_path)
    path.write_bytes(CONTENT)
    assert download("some", entry(server.url, known=False), tmp_path) == path
    assert hashlib.sha256(CONTENT).hexdigest() in (tmp_path / "weights.pth.sha256").read_text()
    damaged(path)
    with pytest.raises(InputError, match="has the sha256"):
        download("some", entry(server.url, known=False), tmp_path)
    assert not server.ranges  # nothing was downloaded


@pytest.mark.parametrize("record", [b"", b"\xff\n"])
def test_a_damaged_record_is_one_line(serve, tmp_path, record):  # noqa: F811
    path = download("some", entry(serve().url, known=False), tmp_path)
    path.with_name("weights.pth.sha256").write_bytes(record)
    with pytest.raises(InputError, match=r"sha256 holds no hash: delete it|has the sha256"):
        download("some", entry("https://nowhere.invalid/x", known=False), tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot write to .*taken"):
        download("some", entry("https://nowhere.invalid/x"), tmp_path / "taken")


def download_slowly(url: str, folder, done) -> None:
    cache.download("some", entry(url), folder)
    done.put(True)


def test_two_processes_at_once_download_once(tmp_path):
    context = multiprocessing.get_context("fork")
    server = Server(CONTENT, HALF)  # a pause before the second half lets the other one come
    done = context.Queue()
    both = [
        context.Process(target=download_slowly, args=(server.url, tmp_path, done)) for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
        assert process.exitcode == 0
    server.close()
    assert len(server.ranges) == 2 and server.ranges[1] is not None
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


# --- verify --------------------------------------------------------------------------------------


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A manifest of one file, in the cache."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    (tmp_path / "manifest.yaml").write_text(
        "weights: {some: {model: osnet_x1_0, trained_on: market1501, num_classes: 1, licence: MIT, "
        f"file: some.pth, size: {len(CONTENT)}, sha256: {digest}, metrics: {{mAP: 0.5}}, "
        "stated_by: nobody, sources: ['https://nowhere.invalid/some.pth']}}"
    )
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "manifest.yaml")
    monkeypatch.setenv("REID_DCS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_verify_sees_every_damage(zoo):
    path = zoo / "some.pth"
    assert verify() == {}
    path.write_bytes(CONTENT)
    assert verify() == {path: ""}
    path.write_bytes(CONTENT[:-1])
    assert "bytes, not" in verify()[path]
    path.write_bytes(CONTENT[:-1] + b"x")
    assert "sha256" in verify()[path]


def test_the_command_ends_with_1_where_something_is_damaged(zoo, tool):
    (zoo / "some.pth").write_bytes(CONTENT)
    assert tool("model_zoo.py", "verify").returncode == 0
    (zoo / "some.pth").write_bytes(b"")
    result = tool("model_zoo.py", "verify")
    assert result.returncode == 1 and f"{zoo / 'some.pth'} has 0 bytes" in result.stdout


@pytest.mark.parametrize("place", ["nosuch", "a_file"])
def test_a_folder_to_verify_is_a_folder(zoo, tool, tmp_path, place):
    (tmp_path / "a_file").write_text("no folder")
    result = tool("model_zoo.py", "verify", "--output-dir", place)
    assert_refused(result, f"no folder at {place}", "--output-dir")
    assert result.stdout == ""
