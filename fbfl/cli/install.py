"""`fbfl nodes install`: Ethereum and IPFS nodes for this machine."""

import argparse
import os
from pathlib import Path

from fbfl.cli.parser import Commands
from fbfl.errors import ProcessError


def add_parser(commands: Commands) -> None:
    """Add the command with its action."""
    group = commands.add_parser("nodes", help="get node programs", description="Programs of nodes for this machine.")
    actions = group.add_subparsers(title="actions", metavar="install", required=True)
    action = actions.add_parser("install", help="get them, in pinned versions, from npm and with Go")
    action.add_argument("names", nargs="*", metavar="NAME", help="anvil, ganache, geth, kubo (default: all)")
    action.set_defaults(command=install)


def install(options: argparse.Namespace) -> int:
    """Get the nodes that are named, or all, and print where each is, or why it is missing; 3 if one is missing."""
    from fbfl.nodes.install import install as install_nodes

    complete = True
    for outcome in install_nodes(options.names, lambda line: print(line, flush=True)):
        where = os.path.relpath(outcome.program) if outcome.program.is_relative_to(Path.cwd()) else outcome.program
        state = f"available ({where})" if outcome.problem is None else f"not available: {outcome.problem}"
        print(f"{outcome.name} {outcome.version}: {state}", flush=True)
        complete &= outcome.problem is None
    return 0 if complete else ProcessError.exit_status
