"""`fbfl dashboard`: web pages over stored runs and running networks."""

import argparse
import contextlib
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fbfl.cli import output
from fbfl.cli.network import add_deployment, add_plugin, add_store, plugins_of
from fbfl.cli.parser import Commands
from fbfl.cli.source import folder_of, refuse_network_options
from fbfl.errors import InvalidInputError

if TYPE_CHECKING:
    from fbfl.dashboard.where import Where

PORT = 8601


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "dashboard",
        help="web pages over runs and networks (extra: dashboard)",
        description="Serve web pages over runs or a network on this machine alone, until Ctrl-C.",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("--network", help="a running network: anvil, ganache, geth, or a JSON-RPC URL")
    where.add_argument(
        "--run",
        type=Path,
        action="append",
        metavar="DIR",
        help="the folder of a run; again for more of them (default: the newest in runs/)",
    )
    add_deployment(command)
    command.add_argument("--task", type=int, metavar="T", help="the task on the network (default: the newest)")
    add_store(command)
    add_plugin(command)
    command.add_argument("--port", type=int, default=PORT, metavar="P", help=f"port of the pages (default {PORT})")
    command.set_defaults(command=dashboard)


def dashboard(options: argparse.Namespace) -> int:
    """Serve the pages; 0 when interrupted."""
    if importlib.util.find_spec("jinja2") is None:
        raise InvalidInputError("fbfl dashboard needs Jinja2; allowed: after pip install 'fbfl[dashboard]'")
    wheres = _wheres(options)

    from fbfl.dashboard.jobs import Jobs
    from fbfl.dashboard.serving import serving
    from fbfl.dashboard.sources import NetworkSource, RunSource

    jobs = Jobs()
    with contextlib.closing(jobs):
        sources = [NetworkSource(where) if where.network else RunSource(where, jobs) for where in wheres]
        for source in sources:
            source.check()
        with serving(sources, jobs, options.port) as url:
            print(f"{url} shows {', '.join(source.label for source in sources)}; Ctrl-C ends it")
            output.flush()
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    return 0


def _wheres(options: argparse.Namespace) -> "Sequence[Where]":
    from fbfl.dashboard.where import Where

    plugins = tuple(sorted(plugins_of(options)))
    if options.network is not None:
        named = {name: getattr(options, name) for name in ("deployment", "task", "store", "payloads")}
        return [Where(network=options.network, plugins=plugins, **named)]
    refuse_network_options(options)
    return [Where(run=path, plugins=plugins) for path in options.run or [folder_of(options)]]
