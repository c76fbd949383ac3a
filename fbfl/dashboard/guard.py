"""Requests that are answered: from this machine's own browser, on pages of the dashboard itself.

A page of anybody's in the same browser can send requests to a port on loopback, and with a name of its own that
resolves to 127.0.0.1 read the answers. So the Host has to be ours, and so has the Origin or the site, where the browser
names them. Pages load nothing but what this server has, run no script but its own, and are shown in no frame.
"""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with none at all, browsers hide the Origin of our own forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Lets only requests for the dashboard on `port` through, and sends `HEADERS` with the answers."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; a WebSocket is refused, there is none."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        problem = self.problem_with(Headers(scope=scope))
        answer = self._app if problem is None else PlainTextResponse(f"refused: {problem}\n", status_code=403)
        await answer(scope, receive, send_with_headers)

    def problem_with(self, headers: Headers) -> str | None:
        """Return what speaks against a request with these headers; None if nothing does."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return "its Host is another than this server's"
        for origin in headers.getlist("origin"):
            if origin.removeprefix("http://") not in self._hosts or not origin.startswith("http://"):
                return "its Origin is another site"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "another site has sent it"
        if "upgrade" in headers:
            return "it asks for another protocol"
        return None
