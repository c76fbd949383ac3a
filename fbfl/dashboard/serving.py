"""The server of the pages, on loopback."""

import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn

from fbfl.dashboard.app import application
from fbfl.dashboard.jobs import Jobs
from fbfl.dashboard.sources import Source
from fbfl.errors import InvalidInputError
from fbfl.nodes.processes import LOOPBACK, share_with_old_connections
from fbfl.system.serving import in_a_thread


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
        with in_a_thread(config, listening, "dashboard"):
            yield f"http://{LOOPBACK}:{port}/"
