"""Routes of a server's endpoint for devices that upload their samples.

`GET /devices/D/samples` tells which samples of device D are here, `PUT /devices/D/samples/FIRST` takes a batch whose
samples have the sequence numbers from FIRST on. Both need `Authorization: Bearer TOKEN`, with the token of that device.
To send a batch again changes nothing; a batch that is not complete, or that is refused, leaves nothing.
"""

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from fbfl.errors import StorageError
from fbfl.mec.batches import MAX_BODY, SampleForm, decode_batch
from fbfl.mec.request_body import RequestRefusedError, read_body
from fbfl.mec.sample_database import SampleDatabase
from fbfl.mec.tokens import DeviceTokens

BODY_SECONDS = 30.0
"""Seconds that a batch may take to arrive."""

_Handler = Callable[[Request], Awaitable[Response]]


def ingest_routes(samples: SampleDatabase, tokens: DeviceTokens, form: SampleForm) -> list[BaseRoute]:
    """Return the two routes; their answers are JSON objects, refusals have an `error`."""
    uploading: set[int] = set()

    async def held(request: Request) -> Response:
        device = await run_in_threadpool(_authorised, request, tokens)
        refuse_while_uploading(device)  # the samples held are not known yet
        return JSONResponse({"held": await run_in_threadpool(samples.held, device)})

    async def upload(request: Request) -> Response:
        device = await run_in_threadpool(_authorised, request, tokens)
        refuse_while_uploading(device)  # or one device could fill the memory
        uploading.add(device)
        try:
            body = await read_body(request, most=MAX_BODY, seconds=BODY_SECONDS)
            new = await run_in_threadpool(take, body, device, _number(request, "first"))
        finally:
            uploading.discard(device)
        return JSONResponse({"new": new})

    def refuse_while_uploading(device: int) -> None:
        if device in uploading:
            raise RequestRefusedError(429, f"an upload of device {device} is on its way")

    def take(body: bytes, device: int, first: int) -> int:
        return samples.receive(decode_batch(body, device, first, form))

    return [
        Route("/devices/{device}/samples", _answering(held), methods=["GET"]),
        Route("/devices/{device}/samples/{first}", _answering(upload), methods=["PUT"]),
    ]


def _answering(handler: _Handler) -> _Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestRefusedError as refusal:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
            return JSONResponse({"error": str(refusal)}, refusal.status, headers)
        except StorageError as error:
            return JSONResponse({"error": str(error)}, 503)

    return answer


def _authorised(request: Request, tokens: DeviceTokens) -> int:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    owner = tokens.device_of(token.strip()) if scheme.lower() == "bearer" else None
    if owner is None:
        raise RequestRefusedError(401, "no token of a device that this server knows")
    device = _number(request, "device")
    if owner != device:
        raise RequestRefusedError(403, f"this token is not that of device {device}")
    return device


def _number(request: Request, name: str) -> int:
    word = request.path_params[name]
    if not (word.isascii() and word.isdecimal() and len(word) <= 10):
        raise RequestRefusedError(404, f"{name} is {word[:20]!r}; allowed: a number of at most 10 digits")
    return int(word)
