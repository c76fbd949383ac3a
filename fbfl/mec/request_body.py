"""Bodies of HTTP requests: small enough, complete, and in time; and the refusal of requests."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from fbfl.errors import FbflError


class RequestRefusedError(FbflError):
    """A request is refused; `status` is its HTTP status."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


async def read_body(request: Request, *, most: int, seconds: float) -> bytes:
    """Read the whole body; one of more than `most` bytes, or that takes longer, raises `RequestRefusedError`."""
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise RequestRefusedError(413, f"a message has at most {most} bytes")
    except TimeoutError as error:
        raise RequestRefusedError(408, f"the message took longer than {seconds:g} s") from error
    except ClientDisconnect as error:
        raise RequestRefusedError(400, "the message is not complete") from error
    return bytes(body)
