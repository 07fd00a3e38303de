"""A gallery on a server, with the same code: Milvus itself, and the embedded engine's endpoint."""

import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from reid_dcs.errors import InputError
from reid_dcs.gallery import Gallery, Picture
from reid_dcs.gallery.store import Store

MILVUS = """
import sys, threading
from milvus import MilvusServer
server = MilvusServer()
server.set_base_dir(sys.argv[1])
server.listen_port = int(sys.argv[2])
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
"""
LITE = """
import sys
from milvus_lite.adapter.grpc.server import start_server_in_thread
server, database, _ = start_server_in_thread(sys.argv[1], port=int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
server.stop(1)
database.close()
"""


@pytest.fixture(params=["milvus", "milvus_lite"])
def address(request, tmp_path):
    """Address of a server in a process of its own."""
    pytest.importorskip(request.param, reason="the package with this server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = MILVUS if request.param == "milvus" else LITE
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "data"), str(port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout.readline() == "ready\n"
    yield f"http://127.0.0.1:{port}/crowd"
    server.communicate("", timeout=60)


@pytest.mark.slow
@pytest.mark.release
def test_a_server_answers_as_the_file_does(address, gallery, people, weights, query, monkeypatch):
    with Gallery.open(address, device="cpu") as served:
        assert served.add(people, weights)[:3] == (36, 0, 0)
        assert served.add(people)[:3] == (0, 36, 0)
        served.set_threshold({"distance": 0.5})
    with Gallery.open(address, device="cpu", create=False) as served:
        for filters in ({}, {"not_camera": 2}, {"camera": 3}):
            found, expected = (each.search(query, 36, **filters) for each in (served, gallery))
            assert [hit.path for hit in found] == [hit.path for hit in expected]
        assert served.store.values("camera") == gallery.store.values("camera")
        assert served.threshold() == {"distance": 0.5} and len(served) == 36
        monkeypatch.setattr("reid_dcs.gallery.store.EXACT", 10)
        served.store.choose_index()
        time.sleep(1)
        assert [h.path for h in served.search(query, 5)] == [
            h.path for h in gallery.search(query, 5)
        ]
        client = served.store._connection.client  # a process is ended before it creates the index
        client.release_collection("crowd")
        client.drop_index("crowd", "vector")
        assert served.add(people)[:3] == (0, 36, 0)
        assert len(served.search(query, 5)) == 5
        served.store.remove([served.store.some(1)[0].id])
        assert len(served) == 35


@pytest.mark.slow
def test_a_foreign_collection_is_refused(tmp_path):
    store = Store(str(tmp_path / "x.db"), create=True)
    store.create(4, {"format": 1})
    store.put([Picture("/x/1.jpg")], np.ones((1, 4), np.float32))
    store._call("alter_collection_properties", properties={"reid_dcs.about": "[]"})
    with pytest.raises(InputError, match="not a gallery of reid-dcs"):
        store.about()
    store.close()
