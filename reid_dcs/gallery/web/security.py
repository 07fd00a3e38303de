"""Who may ask, and what a page may do: host names, the token, security headers."""

import hmac
import ipaddress
import re
import secrets
from urllib.parse import parse_qsl, urlencode

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp

COOKIE = "reid_dcs_token"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    return secrets.token_urlsafe(24)


class Guard(BaseHTTPMiddleware):
    """Refuses requests by other names of this host, from other sites, or without the token.

    The address with ``?token=...`` that ``gallery serve`` prints sets a cookie.

    Args:
        app: the application.
        token: required token; empty: none.
        hosts: names of this host in the ``Host`` header, which a page of another site that
            resolves to this machine does not have; empty: any.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        super().__init__(app)
        self.token, self.hosts = token, hosts

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = self._refusal(request) or await call_next(request)
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        named = _HOST.fullmatch(host)  # as it is: Starlette replaces one that is malformed
        if named is None:
            return PlainTextResponse("a malformed host", 400)
        if self.hosts and (named["six"] or named["name"]).lower() not in self.hosts:
            return PlainTextResponse("unknown host", 400)
        if request.method not in ("GET", "HEAD"):
            origin = request.headers.get("origin", "").lower()
            if origin not in (f"http://{host.lower()}", f"https://{host.lower()}"):
                return PlainTextResponse("a request from another site", 403)
        if not self.token:
            return None
        given = request.query_params.get("token", "")
        if given and self._is_token(given):
            pairs = parse_qsl(request.url.query, keep_blank_values=True)
            rest = urlencode([pair for pair in pairs if pair[0] != "token"])
            answer = RedirectResponse(request.url.path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return answer
        if not self._is_token(request.cookies.get(COOKIE, "")):
            return PlainTextResponse("open the address with the token that was printed", 403)
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())
