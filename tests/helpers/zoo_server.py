"""A web server on this machine that misbehaves as it is told."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HALF = "half"  # breaks off in the middle
PAGE = "page"  # sends a web page, status 200
REDIRECT = "redirect"  # to that page, as Google Drive does past its quota
WHOLE = "whole"  # ignores Range
STALL = "stall"  # sends half and then nothing
ABSENT = "absent"  # 404
LONG = "long"  # claims a longer file than it has
SHORT = "short"  # claims a shorter one
WORDY = "wordy"  # its Content-Length is a word
TRICKLE = "trickle"  # sends a byte, waits, sends a byte
ENDLESS = "endless"  # chunked, and never ends
NAMELESS = "nameless"  # chunked: neither length nor version


class Server:
    """Serves one content; a request takes the next of ``behaviors``, and then all behave.

    Attributes:
        content, etag: of the file.
        behaviors: names above, used up by requests.
        ranges: of every request so far the ``Range`` header, or None.
    """

    def __init__(self, content: bytes, *behaviors: str, etag: str = '"1"') -> None:
        self.content, self.etag = content, etag
        self.behaviors = list(behaviors)
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/weights.pth"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == "/quota":
            return self._send(request, 200, b"<html>Quota exceeded</html>", {"Content-Type": HTML})
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        how = self.behaviors.pop(0) if self.behaviors else ""
        if how == PAGE:
            return self._send(request, 200, b"<html>Log in</html>", {"Content-Type": HTML})
        if how == REDIRECT:
            return self._send(request, 302, b"", {"Location": "/quota"})
        if how == ABSENT:
            return self._send(request, 404, b"no such file", {})
        if how == WORDY:
            return self._send(request, 200, self.content, {"Content-Length": "abc"})
        if how in (TRICKLE, ENDLESS):
            return self._send_for_ever(request, how)
        if how == NAMELESS:
            return self._send_chunked(request)
        headers, status, body = {"ETag": self.etag}, 200, self.content
        same = request.headers.get("If-Range") in (None, self.etag)
        if wanted and same and how != WHOLE:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self._send(request, 416, b"", headers)
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            status, body = 206, body[start:]
        if how == LONG:
            headers["Content-Length"] = str(len(body) + 99)
        if how == SHORT:
            headers["Content-Length"] = str(len(body) - 9)
        if how in (HALF, STALL):
            headers["Content-Length"] = str(len(body))
            body = body[: len(body) // 2]
        self._send(request, status, body, headers)
        if how == STALL:
            time.sleep(2)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        request.send_response(status)
        for name, value in (
            {"Content-Length": str(len(body)), "Connection": "close"} | headers
        ).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)
        request.wfile.flush()

    def _send_for_ever(self, request: BaseHTTPRequestHandler, how: str) -> None:
        request.send_response(200)
        if how == TRICKLE:
            request.send_header("Content-Length", str(len(self.content)))
        else:
            request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        try:
            for _ in range(3000):  # 30 seconds, should nobody give up
                piece = b"x" if how == TRICKLE else b"2000\r\n" + bytes(0x2000) + b"\r\n"
                request.wfile.write(piece)
                request.wfile.flush()
                time.sleep(0.01)
        except OSError:  # the client has given up
            request.close_connection = True

    def _send_chunked(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.send_header("Connection", "close")
        request.end_headers()
        for start in range(0, len(self.content), 1000):
            piece = self.content[start : start + 1000]
            request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        request.wfile.write(b"0\r\n\r\n")


HTML = "text/html; charset=utf-8"
