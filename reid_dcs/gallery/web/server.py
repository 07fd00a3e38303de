"""Run the page of a gallery with uvicorn."""

import errno
import socket

from reid_dcs.errors import InputError
from reid_dcs.gallery.gallery import Gallery
from reid_dcs.runtime.imports import extra

_BACKLOG = 512


def serve(gallery: Gallery, host: str, port: int) -> None:
    """Serve the page until a signal ends it; prints its address.

    Args:
        gallery: the gallery, with its network.
        host: address to listen on. For others than this machine's own, a token is needed, which
            the printed address has.
        port: 0: any free one.

    Raises:
        InputError: the address is not free or not this machine's, or a package of the extra is
            not installed.
    """
    for package in ("starlette", "uvicorn", "jinja2", "python_multipart"):
        extra(package, "gallery")
    import uvicorn

    from reid_dcs.gallery.web.app import build_app
    from reid_dcs.gallery.web.security import is_loopback, new_token

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)  # who reads the address below can connect at once
    except (OSError, UnicodeError) as error:  # a name that is no host's is UnicodeError
        is_port = not isinstance(error, socket.gaierror | UnicodeError)
        if getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
            is_port = False
        raise InputError(
            f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}; "
            f"choose another {'--port' if is_port else '--host'}"
        ) from error
    local = is_loopback(host)
    token = "" if local else new_token()
    hosts = frozenset({"127.0.0.1", "localhost", "::1", host}) if local else frozenset()
    name = f"[{host}]" if ":" in host else host
    ending = f"?token={token}" if token else ""
    print(f"http://{name}:{listening.getsockname()[1]}/{ending}", flush=True)
    config = uvicorn.Config(
        build_app(gallery, token, hosts),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        limit_concurrency=200,
        timeout_graceful_shutdown=5,
    )
    with listening:
        uvicorn.Server(config).run(sockets=[listening])
