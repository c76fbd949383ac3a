"""Between a client and a node over HTTP: passes everything on, except where it is told to do what bad networks do."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, cycle

import requests
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from fbfl.mec.endpoint import serving

PASSED = ("content-type", "x-stream-output", "x-chunked-output", "trailer")
"""Headers of requests and answers that mean something beyond the connection."""

Answer = Callable[[Callable[[], Response]], Response]
"""The answer to a client, given what would ask the node."""


class Proxy:
    """`url` stands for `target`, the URL of a node without a path."""

    def __init__(self, target: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests = 0
        self.spoiled = 0
        """Number of requests that did not get the node's own answer at once."""
        self._target = target
        self._choose: Callable[[Request, bytes], Answer | None] = lambda request, body: None

    @contextmanager
    def spoiling(self, choose: Callable[[Request, bytes], Answer | None]) -> Iterator[None]:
        """Inside, requests for which there is an answer to `choose` get that one."""
        self._choose = choose
        try:
            yield
        finally:
            self._choose = lambda request, body: None

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        self.requests += 1
        body = await request.body()
        answer = self._choose(request, body)
        if answer is None:
            return await run_in_threadpool(self._ask, request, body)
        self.spoiled += 1
        return await run_in_threadpool(answer, lambda: self._ask(request, body))

    def _ask(self, request: Request, body: bytes) -> Response:
        url = f"{self._target}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
        headers = {name: value for name, value in request.headers.items() if name in PASSED}
        try:
            answer = requests.request(request.method, url, data=body, headers=headers, timeout=60)
        except requests.RequestException:
            return Response(status_code=502)
        headers = {name: value for name, value in answer.headers.items() if name.lower() in PASSED}
        return Response(answer.content, answer.status_code, headers)


@contextmanager
def proxy(target: str, port: int) -> Iterator[Proxy]:
    """Inside, a proxy for the node at `target` listens on this port."""
    made = Proxy(target, port)
    with serving(Starlette(routes=[Route("/{path:path}", made.__call__, methods=["GET", "POST"])]), port):
        yield made


def every(nth: int, *answers: Answer) -> Callable[[Request, bytes], Answer | None]:
    """One request of so many is spoiled, in each of these ways in turn."""
    numbers, ways = count(1), cycle(answers)
    return lambda request, body: None if next(numbers) % nth else next(ways)


# ---------------------------------------------------------------- what bad networks do


def overloaded(ask: Callable[[], Response]) -> Response:
    """Answer as a load balancer whose servers are busy."""
    return Response("<html>503 Service Temporarily Unavailable</html>", 503, media_type="text/html")


def garbage(ask: Callable[[], Response]) -> Response:
    """Answer as some other program that has the port now."""
    return Response("<html>Welcome!</html>", 200, media_type="text/html")


def cut(ask: Callable[[], Response]) -> Response:
    """Half of the answer; then the connection breaks."""
    answer = ask()
    half = bytes(answer.body[: len(answer.body) // 2])
    return StreamingResponse(iter([half]), answer.status_code, {**answer.headers, "content-length": str(len(half) + 1)})


def lost(ask: Callable[[], Response]) -> Response:
    """The node does it, and its answer is lost."""
    ask()
    return overloaded(ask)


def late(seconds: float) -> Answer:
    """The answer comes after so many seconds."""

    def answer(ask: Callable[[], Response]) -> Response:
        threading.Event().wait(seconds)
        return ask()

    return answer
