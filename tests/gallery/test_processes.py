"""Several processes with one gallery: kills at any moment, searches while another indexes."""

import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from reid_dcs.errors import InputError
from reid_dcs.gallery import Gallery

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-c", "from reid_dcs.cli import main; main()", "gallery")
SLOW = """
import time
from reid_dcs.gallery import index
put = index.Indexer._put
def slow(self, batch):
    put(self, batch)
    time.sleep(0.05)
index.Indexer._put = slow
index.WINDOW = 4
from reid_dcs.cli import main
main()
"""  # batches of 4, so that a kill comes between two of them


FULL = ("sh", "-c", """trap '' XFSZ; ulimit -f 80; exec "$0" "$@" """)  # blocks of 512 bytes
started = []


@pytest.fixture(autouse=True)
def ended():
    """Ends the processes of a test that fails."""
    yield
    while started:
        started.pop().kill()


def start(*arguments, slow=False, shell=()):
    """Start the command, as arguments of a shell's command if there is one."""
    command = (sys.executable, "-c", SLOW, "gallery") if slow else COMMAND
    process = subprocess.Popen(
        [*shell, *command, *map(str, arguments)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started.append(process)
    return process


@pytest.fixture
def many(people, tmp_path):
    folder = tmp_path / "pictures"
    for copy in range(3):
        shutil.copytree(people, folder / f"copy{copy}")
    return folder  # 108 pictures


def stored(place):
    with Gallery.open(place, device="cpu", create=False) as gallery:
        files = gallery.store.files("/")
    assert all(len(states) == 1 for states in files.values())
    return {*files}


def test_killed_processes_lose_nothing_and_double_nothing(many, weights, tmp_path):
    place = tmp_path / "people.db"
    given = ("index", many, "--gallery", place, "--weights", weights, "--device", "cpu")
    kept = set()
    for delay in (0.1, 0.4, 0.0):
        process = start(*given, slow=True)
        while process.poll() is None and not (place / "ADDING").exists():
            time.sleep(0.02)
        time.sleep(delay)
        process.kill()
        process.communicate()
        try:
            now = stored(place)
        except InputError as error:  # killed before there was anything
            assert "empty" in str(error) and not kept
            continue
        assert kept <= now
        kept = now
    process = start(*given)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "108 pictures in all" in out and f" {len(kept)} unchanged" in out
    assert len(stored(place)) == 108


def test_a_search_goes_on_when_the_process_that_has_the_file_is_killed(
    people, weights, query, tmp_path
):
    place = tmp_path / "people.db"
    with Gallery.open(place, device="cpu") as gallery:
        gallery.add(people, weights)
    serving = start("serve", "--gallery", place, "--port", 0, "--device", "cpu")
    serving.stdout.readline()
    with Gallery.open(place, device="cpu", create=False) as gallery:
        before = [hit.path for hit in gallery.search(query)]  # answered by the other process
        serving.kill()
        serving.communicate()
        assert [hit.path for hit in gallery.search(query)] == before


def test_twenty_clients_search_while_another_process_indexes(many, people, weights, tmp_path):
    place = tmp_path / "people.db"
    with Gallery.open(place, device="cpu") as gallery:
        gallery.add(people, weights)
        key = gallery.store.some(1)[0].id
    serving = start("serve", "--gallery", place, "--port", 0, "--device", "cpu")
    address = serving.stdout.readline().strip()
    failures, answers, done = [], [], threading.Event()

    def search():
        while not done.is_set():
            try:
                page = urllib.request.urlopen(f"{address}?like={key}", timeout=60).read()
                answers.append(page.count(b"similarity"))
            except urllib.error.HTTPError as error:
                failures.append(error.read().decode())  # the page says why
            except OSError as error:
                failures.append(error)

    clients = [threading.Thread(target=search) for _ in range(20)]
    for client in clients:
        client.start()
    indexing = start("index", many, "--gallery", place, "--device", "cpu")
    out, err = indexing.communicate(timeout=200)
    done.set()
    for client in clients:
        client.join()
    assert indexing.returncode == 0 and "144 pictures in all" in out, err
    assert not failures and len(answers) >= 20 and min(answers) > 0
    serving.terminate()
    serving.wait(30)
    assert len(stored(place)) == 144


def test_two_processes_index_one_folder_once(many, weights, tmp_path):
    given = ("index", many, "--gallery", tmp_path / "people.db", "--weights", weights)
    both = [start(*given, "--device", "cpu") for _ in range(2)]
    out = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], out
    assert sorted(text.split(": ")[1].split(",")[0] for text, _ in out) == ["0 added", "108 added"]


def test_a_full_disk_is_one_line_and_keeps_what_was_stored(many, people, weights, tmp_path):
    place = tmp_path / "people.db"
    with Gallery.open(place, device="cpu") as gallery:
        gallery.add(people, weights)
    before = stored(place)
    indexing = start("index", many, "--gallery", place, "--device", "cpu", shell=FULL)
    _, err = indexing.communicate(timeout=120)
    assert indexing.returncode == 2
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert line.startswith("error: ") and "full" in line
    assert before <= stored(place)


@pytest.mark.parametrize(
    "name",
    [
        "schema.json",
        *(pytest.param(n, marks=pytest.mark.release) for n in ("manifest.json", "*.parquet")),
    ],
)
def test_a_damaged_gallery_is_one_line(people, weights, query, tmp_path, name):
    place = tmp_path / "people.db"
    with Gallery.open(place, device="cpu") as gallery:
        gallery.add(people, weights)
    files = [path for path in place.rglob(name) if "database" not in str(path)]
    assert files
    for path in [*files, *place.rglob(f"{name}.prev")]:
        size = path.stat().st_size
        path.write_bytes(os.urandom(size))
    search = start("search", "--gallery", place, "--image", query, "--device", "cpu")
    _, err = search.communicate(timeout=120)
    assert search.returncode == 2, err
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert line.startswith("error: ") and "damaged" in line
