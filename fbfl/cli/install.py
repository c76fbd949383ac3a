"""`fbfl nodes install`: Ethereum and IPFS nodes for this machine."""

import argparse
import os
from pathlib import Path

from fbfl.errors import ProcessError
from fbfl.nodes.install import install as install_nodes


def install(options: argparse.Namespace) -> int:
    """Get the nodes that are named, or all, and print where each is, or why it is missing; 3 if one is missing."""
    complete = True
    for outcome in install_nodes(options.names, lambda line: print(line, flush=True)):
        where = os.path.relpath(outcome.program) if outcome.program.is_relative_to(Path.cwd()) else outcome.program
        state = f"available ({where})" if outcome.problem is None else f"not available: {outcome.problem}"
        print(f"{outcome.name} {outcome.version}: {state}", flush=True)
        complete &= outcome.problem is None
    return 0 if complete else ProcessError.exit_status
