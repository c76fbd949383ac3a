"""The server of the pages, on loopback."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import uvicorn

from fbfl.dashboard.app import application
from fbfl.dashboard.jobs import Jobs
from fbfl.dashboard.sources import Source
from fbfl.errors import InvalidInputError, ProcessError
from fbfl.nodes.processes import LOOPBACK, share_with_old_connections

_START_SECONDS = 60.0  # long enough on a busy machine


@contextlib.contextmanager
def serving(sources: Sequence[Source], jobs: Jobs, port: int) -> Iterator[str]:
    """Serve the pages on this port; yields their address. A port that is not available raises `InvalidInputError`."""
    with socket.socket() as listening:
        share_with_old_connections(listening)
        try:
            listening.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise InvalidInputError(f"--port {port}: cannot be listened on ({error})") from error
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            application(sources, jobs, port),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="dashboard", daemon=True)
        thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise ProcessError(f"the dashboard on port {port} does not start")
            time.sleep(0.01)
        try:
            yield f"http://{LOOPBACK}:{port}/"
        finally:
            server.should_exit = True
            thread.join(5.0)
