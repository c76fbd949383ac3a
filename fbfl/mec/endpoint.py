"""The HTTP endpoint of an agent: its health, for people and for Prometheus, and further routes."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator, Sequence

import uvicorn
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from fbfl.errors import InvalidInputError
from fbfl.mec.agent import Agent
from fbfl.nodes.processes import share_with_old_connections
from fbfl.system.serving import in_a_thread

LOOPBACK = "127.0.0.1"
MOST_CONNECTIONS = 128
"""Connections at once; a process has about a thousand files, and its node and its store need some."""

HEAD_SECONDS = 10.0
"""Seconds until a connection must have brought a request."""

MOST_SECONDS = 120.0
"""Seconds after which a connection is cut whatever it does."""


def application(agent: Agent, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Serve `/health` and `/metrics` of an agent, and further routes, such as those for devices' uploads."""
    registry = CollectorRegistry()
    registry.register(_Collector(agent))

    async def health(_: Request) -> Response:
        return JSONResponse(agent.health())

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics), *routes])


@contextlib.contextmanager
def serving(app: Starlette, port: int, host: str = LOOPBACK) -> Iterator[None]:
    """Serve the application on this port of this IPv4 address or name of the machine.

    One that is not available raises `InvalidInputError`.
    """
    with socket.socket() as listening:
        share_with_old_connections(listening)
        try:
            listening.bind((host, port))
        except (OSError, OverflowError) as error:
            where = f"--port {port}" if host == LOOPBACK else f"--host {host} --port {port}"
            raise InvalidInputError(f"{where}: cannot be listened on ({error})") from error
        config = uvicorn.Config(
            app,
            http=_Hurried,
            ws="none",
            headers=[("Connection", "close")],  # one request each: between two, nothing limits how long it stays
            backlog=MOST_CONNECTIONS,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        with in_a_thread(config, listening, "endpoint"):
            yield


class _Hurried(H11Protocol):
    """A connection that must not stay: strangers could take all files of the process with idle ones."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self.loop.call_later(HEAD_SECONDS, self._expect_request)
        self.loop.call_later(MOST_SECONDS, transport.abort)
        staying = [each for each in self.connections if isinstance(each, _Hurried) and not each.transport.is_closing()]
        if len(staying) > MOST_CONNECTIONS:
            # A new one is more likely to be somebody's that wants something.
            min(staying, key=lambda each: (each.cycle is not None, each._since)).transport.abort()

    def _expect_request(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class _Collector:
    """Collects the agent's figures when Prometheus asks for them."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterable[Metric]:
        agent = self._agent
        yield GaugeMetricFamily("fbfl_round", "The task's current round", agent.health()["round"] or 0)
        yield GaugeMetricFamily("fbfl_samples", "Samples that the server holds", agent.server.samples.count)
        yield CounterMetricFamily("fbfl_steps", "Things that the agent did", agent.steps)
        yield CounterMetricFamily("fbfl_failures", "Attempts that failed, by node, store or contract", agent.failures)
        yield CounterMetricFamily("fbfl_training_seconds", "Time spent in local training", agent.training.seconds)
        yield GaugeMetricFamily("fbfl_healthy", "1 unless the last attempt failed", float(agent.last_error is None))
