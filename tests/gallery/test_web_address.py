"""The address on which the page listens."""

import socket

import pytest

from reid_dcs.errors import InputError
from reid_dcs.gallery.web import server


@pytest.mark.parametrize(
    "host, said",
    [
        ("nosuch.invalid", "Name or service not known; choose another --host"),
        ("a..b", "choose another --host"),
        ("192.0.2.1", "choose another --host"),
        ("127.0.0.1", "Address already in use; choose another --port"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_named(gallery, monkeypatch, host, said):
    if host.endswith(".invalid"):  # as where there is a name server

        def unknown(*_, **__):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError) as error:
            server.serve(gallery, host, port)
    assert str(error.value).startswith(f"cannot listen on {host} port {port}: ")
    assert said in str(error.value)
