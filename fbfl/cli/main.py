"""The command line: what can be asked, and how a failure is said."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fbfl import __version__
from fbfl.errors import FbflError

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the way to the help."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    # Training and servers keep every core busy: BLAS threads would only wait for each other. Read when NumPy loads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # where a user's own package.module:function is looked for
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end, as with Ctrl-C
    try:
        return int(options.command(options))
    except FbflError as error:
        print(f"fbfl: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("fbfl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads our output has seen enough; the interpreter must not complain when it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line. Modules that are slow to import are imported by the commands that need them."""
    root = Parser(prog="fbfl", description="Federated learning in mobile edge computing, coordinated by Ethereum.")
    root.add_argument("--version", action="version", version=f"fbfl {__version__}")
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    _add_run(commands)
    _add_deploy(commands)
    _add_nodes(commands)
    _add_queries(commands)
    return root


def _add_run(commands: "argparse._SubParsersAction[Parser]") -> None:
    run = commands.add_parser("run", help="one federation end to end", description="One federation end to end.")
    add = run.add_argument
    add("--config", type=Path, metavar="FILE", help="settings as TOML; options below take precedence")
    add("--rounds", type=int, help="rounds (default 10)")
    add("--servers", type=int, help="MEC servers (default 10)")
    add("--devices", type=int, help="local devices of all servers together (default two per server)")
    add("--mobility", help="how devices move: random_waypoint, or package.module:function (default: not)")
    add("--mobility-arg", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the mobility")
    add("--dataset", help="mnist, mnist-5k, fashion-mnist, digits, or an .npz file")
    add("--partition", help="how samples are split among servers: iid, shards, dirichlet, ...")
    add("--partition-arg", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the partition")
    add("--model", help="mlp, 2nn, cnn, or package.module:function")
    add("--aggregator", help="fedavg, krum, trimmed_mean, ..., or package.module:function")
    add("--aggregator-arg", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the rule")
    add("--attack", help="what malicious servers do: label_flipping, model_poisoning, backdoor, ...")
    add("--attack-arg", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the attack")
    add("--malicious", type=int, help="the first so many servers are malicious")
    add("--consensus", help="pow, pbft or ethash (default pow)")
    add("--liars", type=int, help="the first so many servers lie in every phase of the consensus")
    add("--signatures", action="store_const", const=True, help="sign updates and votes; record many at once")
    add("--commit-reveal", action="store_const", const=True, help="commit to updates before they are shown")
    add("--stake", type=int, metavar="WEI", help="stake of each server (default 1 ether)")
    add("--reward", type=int, metavar="WEI", help="reward of a final round (default 0.01 ether)")
    add("--nodes", type=int, help="full nodes of the embedded ethash network (default 3)")
    add("--network", help="eth-tester (default), ganache, anvil, geth, or a JSON-RPC URL")
    add("--store", help="local (default) or ipfs")
    add("--payload", help="how updates are published: float32 (default), float16 or int8")
    add("--local-epochs", type=int, help="passes over a server's samples per round (default 1)")
    add("--batch-size", type=int, help="samples of a training step (default 32)")
    add("--optimizer", help="the Keras optimizer (default adam)")
    add("--learning-rate", type=float, help="its learning rate (default: the optimizer's own)")
    add("--seed", type=int, help="everything random follows from it (default 0)")
    add("--output", type=Path, metavar="DIR", help="new folder for the results (default runs/<time>)")
    add("--quiet", action="store_true", help="print nothing but errors")
    run.set_defaults(command=_run)


def _add_deploy(commands: "argparse._SubParsersAction[Parser]") -> None:
    deploy = commands.add_parser("deploy", help="deploy the contracts", description="Deploy the contracts.")
    deploy.add_argument("--network", default="eth-tester", help="eth-tester, ganache, anvil, geth, or a JSON-RPC URL")
    deploy.add_argument("--mock-ethash", action="store_true", help="deploy EthashElection without proof of work, too")
    deploy.set_defaults(command=_deploy)


def _add_nodes(commands: "argparse._SubParsersAction[Parser]") -> None:
    for name, nodes in (("chain", "Ethereum nodes"), ("ipfs", "IPFS (Kubo) nodes")):
        group = commands.add_parser(name, help=f"start and stop local {nodes}", description=f"Local {nodes}.")
        actions = group.add_subparsers(title="actions", metavar="up|down|status", required=True, parser_class=Parser)
        what = {"up": "start them and wait until they are ready", "down": "stop them", "status": "how they are"}
        for action, explanation in what.items():
            one = actions.add_parser(action, help=explanation, description=f"Local {nodes}: {explanation}.")
            if name == "chain":
                one.add_argument("--network", required=True, help="anvil, ganache, or geth (mines with ethash)")
            one.add_argument("--state", type=Path, metavar="DIR", help="where they keep their data (default .fbfl)")
            if action == "up":
                one.add_argument("--nodes", type=int, help="how many (default: as last time)")
                one.add_argument("--port", type=int, help="of the first; the others follow (default: as last time)")
                one.add_argument("--timeout", type=float, help="seconds until all must be ready")
            if action == "down":
                one.add_argument("--forget", action="store_true", help="remove what they keep, too")
            one.set_defaults(command=_nodes, kind=name, action=action)


def _add_queries(commands: "argparse._SubParsersAction[Parser]") -> None:
    rounds = commands.add_parser("rounds", help="the rounds on the chain, a line each")
    rounds.add_argument("--json", action="store_true", help="a JSON list")
    one = commands.add_parser("round", help="one round: updates, votes, leader, gas")
    one.add_argument("number", type=int, metavar="R", help="the round, from 1")
    one.add_argument("--json", action="store_true", help="a JSON object")
    blocks = commands.add_parser("blocks", help="one block per finished round, as JSON")
    blocks.add_argument("--tensors", action="store_true", help="with the tensors of every payload")
    audit = commands.add_parser("audit", help="recompute every round from chain and payloads")
    for command, function in ((rounds, _rounds), (one, _round), (blocks, _blocks), (audit, _audit)):
        where = command.add_mutually_exclusive_group()
        where.add_argument("--network", help="a running network")
        where.add_argument("--run", type=Path, metavar="DIR", help="the folder of a run (default: the newest in runs/)")
        command.set_defaults(command=function)


def _run(options: argparse.Namespace) -> int:
    from fbfl.cli.run import run

    return run(options)


def _deploy(options: argparse.Namespace) -> int:
    from fbfl.cli.deploy import deploy

    return deploy(options)


def _nodes(options: argparse.Namespace) -> int:
    from fbfl.cli.nodes import nodes

    return nodes(options)


def _rounds(options: argparse.Namespace) -> int:
    from fbfl.cli.queries import rounds

    return rounds(options)


def _round(options: argparse.Namespace) -> int:
    from fbfl.cli.queries import one_round

    return one_round(options)


def _blocks(options: argparse.Namespace) -> int:
    from fbfl.cli.queries import blocks

    return blocks(options)


def _audit(options: argparse.Namespace) -> int:
    from fbfl.cli.queries import audit

    return audit(options)
