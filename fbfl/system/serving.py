"""A web application served from a thread of this process, for as long as it is needed."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from fbfl.errors import ProcessError

_START_SECONDS = 60.0  # long enough for several that start at once on a busy machine


@contextlib.contextmanager
def in_a_thread(config: uvicorn.Config, listening: socket.socket, name: str) -> Iterator[None]:
    """Serve on a bound socket inside; `name` is the thread's, and in the `ProcessError` if it does not start."""
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name=name, daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise ProcessError(f"the {name} on port {listening.getsockname()[1]} does not start")
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(5.0)
