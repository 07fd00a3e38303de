"""Downloads from a server that misbehaves: some are resumed, some refused."""

import hashlib
import io
import pickle
import shutil
import time

import pytest
import torch
from helpers import zoo_server as behavior
from helpers.zoo_server import Server

from reid_dcs import InputError
from reid_dcs.zoo import ZooEntry, download, sources

DATA = {"weight": torch.arange(30_000.0)}


def as_file() -> bytes:
    buffer = io.BytesIO()
    torch.save(DATA, buffer)
    return buffer.getvalue()


CONTENT = as_file()


def entry(*urls: str, known: bool = True) -> ZooEntry:
    digest = hashlib.sha256(CONTENT).hexdigest()
    return ZooEntry(
        model="osnet_x1_0",
        trained_on="market1501",
        num_classes=1,
        licence="MIT",
        file="weights.pth",
        sources=list(urls),
        metrics={},
        size=len(CONTENT) if known else None,
        sha256=digest if known else None,
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(sources, "PAUSE", 0.0)
    monkeypatch.setattr(sources, "TIMEOUT", (1.0, 0.3))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def serve():
    servers = []

    def start(*behaviors: str, content: bytes = CONTENT, **options) -> Server:
        servers.append(Server(content, *behaviors, **options))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


def assert_downloaded(server: Server, folder, known: bool = True) -> None:
    path = download("some", entry(server.url, known=known), folder)
    assert path.read_bytes() == CONTENT
    left = {file.name for file in folder.iterdir() if not file.name.endswith(".lock")}
    assert left == {"weights.pth"} | (set() if known else {"weights.pth.sha256"})


def refusal(folder, *urls: str, known: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        download("some", entry(*urls, known=known), folder)
    message = str(caught.value)
    assert "\n" not in message
    assert not (folder / "weights.pth").exists()
    return message


def start_of(header: str | None) -> int:
    return int(header.removeprefix("bytes=").removesuffix("-")) if header else 0


@pytest.mark.parametrize("known", [True, False], ids=["pinned", "unpinned"])
@pytest.mark.parametrize("behaviors", [[], [behavior.HALF], [behavior.STALL], [behavior.NAMELESS]])
def test_the_whole_file_is_downloaded_in_the_end(behaviors, known, serve, tmp_path):
    assert_downloaded(serve(*behaviors), tmp_path, known)


def test_a_length_that_is_too_long_looks_like_a_broken_connection(serve, tmp_path):
    assert_downloaded(serve(behavior.LONG), tmp_path, known=False)


def test_an_interrupted_download_is_resumed(serve, tmp_path):
    server = serve(behavior.HALF, behavior.HALF)
    assert_downloaded(server, tmp_path)
    starts = [start_of(header) for header in server.ranges]
    assert starts[0] == 0 < starts[1] < starts[2] < len(CONTENT)


def test_an_interrupted_download_is_resumed_by_a_later_call(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ATTEMPTS", 1)
    server = serve(behavior.HALF)
    assert "1 attempts failed" in refusal(tmp_path, server.url)
    assert 0 < (tmp_path / "weights.pth.part").stat().st_size < len(CONTENT)
    assert_downloaded(server, tmp_path)
    assert start_of(server.ranges[1]) > 0


def test_a_server_that_ignores_ranges_starts_over(serve, tmp_path):
    assert_downloaded(serve(behavior.HALF, behavior.WHOLE), tmp_path)


def test_another_version_of_the_file_starts_over(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ATTEMPTS", 1)
    server = serve(behavior.HALF, content=CONTENT[::-1])
    refusal(tmp_path, server.url)
    server.content, server.etag = CONTENT, '"2"'
    assert_downloaded(server, tmp_path)


def test_a_part_that_is_too_long_starts_over(serve, tmp_path):
    server = serve()
    (tmp_path / "weights.pth.part").write_bytes(CONTENT + b"more")
    (tmp_path / "weights.pth.part.version").write_text(f'{server.url}\n"1"\n')
    assert_downloaded(server, tmp_path)


@pytest.mark.parametrize(
    "version",
    [
        b"\xff\xfe\x00",
        b"%s\n\xff\n",
        b"%s\n\xc3\xa9\n",
        b"%s\n\x01\n",
        b"%s\n 1\n",
        b"%s\n\n",
        b"%s",
    ],
)
def test_a_part_whose_version_is_damaged_starts_over(version, serve, tmp_path):
    server = serve()
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:100])
    written = version.replace(b"%s", server.url.encode())
    (tmp_path / "weights.pth.part.version").write_bytes(written)
    assert_downloaded(server, tmp_path)
    assert server.ranges == [None]


def test_a_version_that_cannot_be_asked_for_is_not_recorded(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ATTEMPTS", 1)
    server = serve(behavior.HALF, etag='"\xe9"')
    refusal(tmp_path, server.url)
    assert not (tmp_path / "weights.pth.part.version").exists()
    assert_downloaded(server, tmp_path)


def test_a_download_from_another_address_is_not_resumed(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ATTEMPTS", 1)
    broken, other = serve(behavior.HALF), serve()
    path = download("some", entry(broken.url, other.url), tmp_path)
    assert path.read_bytes() == CONTENT and other.ranges == [None]


@pytest.mark.parametrize(
    "how, reason",
    [
        (behavior.PAGE, "a web page came instead"),
        (behavior.REDIRECT, "a web page came instead"),
        (behavior.ABSENT, "status 404"),
        (behavior.LONG, "bytes, not"),
        (behavior.SHORT, "bytes, not"),
    ],
)
def test_a_failed_download_names_the_reason_and_the_address(how, reason, serve, tmp_path):
    server = serve(how)
    message = refusal(tmp_path, server.url)
    assert reason in message and "some could not be downloaded" in message
    assert f"download {server.url} on another machine and put it at {tmp_path}" in message


@pytest.mark.parametrize("how", [behavior.HALF, behavior.STALL])
def test_a_server_that_never_finishes_is_given_up(how, serve, tmp_path):
    assert "4 attempts failed" in refusal(tmp_path, serve(*[how] * 40).url)


@pytest.mark.parametrize("known", [True, False], ids=["pinned", "unpinned"])
def test_a_length_that_is_a_word_is_one_line(known, serve, tmp_path):
    message = refusal(tmp_path, serve(behavior.WORDY).url, known=known)
    assert "its Content-Length is 'abc', not a number of bytes" in message


@pytest.mark.parametrize("known", [True, False], ids=["pinned", "unpinned"])
def test_a_slow_download_has_a_deadline(known, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LONGEST", 0.5)
    started = time.monotonic()
    assert "longer than" in refusal(tmp_path, serve(behavior.TRICKLE).url, known=known)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("how", [behavior.ENDLESS, ""])
def test_a_file_of_unknown_size_has_a_limit(how, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST", 100_000)
    message = refusal(tmp_path, serve(how).url, known=False)
    assert "its file is larger than 100,000 bytes" in message
    assert not (tmp_path / "weights.pth.part").exists()


def test_google_drive_has_the_limits_too(tmp_path, monkeypatch):
    def gdown(url: str, output: str, progress=None, timeout=None) -> str:
        assert timeout == sources.TIMEOUT
        progress(10, None)
        progress(sources.LARGEST + 1, None)
        return output

    monkeypatch.setattr("gdown.download", gdown)
    assert "its file is larger than" in refusal(tmp_path, "drive:1abc", known=False)


def test_a_server_that_is_down(serve, tmp_path):
    server = serve()
    server.close()
    assert "no connection" in refusal(tmp_path, server.url)


def test_a_file_with_another_hash_is_refused_and_deleted(serve, tmp_path):
    wrong = bytes(reversed(CONTENT))
    assert "the downloaded file has the sha256" in refusal(tmp_path, serve(content=wrong).url)
    assert not (tmp_path / "weights.pth.part").exists()


@pytest.mark.parametrize("content", [b"<html>", CONTENT[:-50], b""], ids=["page", "cut", "empty"])
def test_without_a_known_hash_a_file_must_at_least_be_weights(content, serve, tmp_path):
    url = serve(content=content).url
    assert "the downloaded file is not a file of weights" in refusal(tmp_path, url, known=False)
    assert not (tmp_path / "weights.pth.sha256").exists()


class Code:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return open, ("trap", "w")


def test_code_in_a_downloaded_file_is_not_run(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = serve(content=pickle.dumps({"weight": Code()}, protocol=2)).url
    assert "the downloaded file is not a file of weights" in refusal(tmp_path, url, known=False)
    assert not (tmp_path / "trap").exists()


def test_sources_are_tried_in_order(serve, tmp_path):
    first, second, third = serve(behavior.ABSENT), serve(), serve()
    download("some", entry(first.url, second.url, third.url), tmp_path)
    assert (len(first.ranges), len(second.ranges), len(third.ranges)) == (1, 1, 0)


def test_google_drive_goes_through_gdown(tmp_path, monkeypatch):
    """There is no network to Drive in tests: this is what is asked of gdown."""
    asked = []

    def gdown(url: str, output: str) -> str:
        asked.append(url)
        with open(output, "wb") as file:
            shutil.copyfileobj(io.BytesIO(CONTENT), file)
        return output

    monkeypatch.setattr("gdown.download", gdown)
    path = download("some", entry("drive:1abc", known=False), tmp_path)
    assert asked == ["https://drive.google.com/uc?id=1abc"] and path.read_bytes() == CONTENT


@pytest.mark.parametrize("outcome", ["raises", "page", "nothing"])
def test_google_drive_past_its_quota(outcome, tmp_path, monkeypatch):
    def gdown(url: str, output: str) -> str | None:
        if outcome == "raises":
            raise RuntimeError("Too many users have viewed\nor downloaded this file")
        if outcome == "page":
            with open(output, "w") as file:
                file.write("<!DOCTYPE html>")
        return None

    monkeypatch.setattr("gdown.download", gdown)
    message = refusal(tmp_path, "drive:1abc", known=False)
    assert "download https://drive.google.com/file/d/1abc/view on another machine" in message
