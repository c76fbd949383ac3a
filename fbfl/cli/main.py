"""The command line: its commands and options, and the output of failures."""

import argparse
import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fbfl import __version__
from fbfl.cli import hint, output
from fbfl.cli.interrupts import never_lost
from fbfl.cli.settings import add_option, add_options
from fbfl.errors import ChainError, FbflError, InvalidInputError, StorageError
from fbfl.system.printable import printable
from fbfl.values.fields import Place

INTERRUPTED = 130

_STAKE = "stake when it registers: wei, or an amount as '0.01 ether' (default: 1 ether)"
_WHERE = "store of payloads: local (default; see --payloads) or ipfs"

_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class Parser(argparse.ArgumentParser):
    """Reports an error in one line that points to the help."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        _, *names = self.prog.split()
        self.exit(2, f"{self.prog}: {message} (see {hint.command(*names, '--help')})\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        try:
            return _answered(arguments)
        finally:
            output.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) and output.reader_is_gone():
            output.discard()
            return output.READER_GONE
        if error.errno not in _OF_DISKS:
            raise
        output.discard()
        print(f"fbfl: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return StorageError.exit_status
    except KeyboardInterrupt:
        print("fbfl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except FbflError as error:
        print("fbfl:", "\n".join(printable(line) for line in str(error).split("\n")), file=sys.stderr)
        return error.exit_status


def _answered(arguments: Sequence[str] | None) -> int:
    # Training and servers keep every core busy: BLAS threads would only wait for each other. Read when NumPy loads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("FBFL_LEAN_KERAS", "1")  # see fbfl.learning.backend.load_tensorflow
    here = _current_folder()
    if here not in sys.path:
        sys.path.append(here)  # where a user's own package.module:function is looked for
    output.prepare()
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as with Ctrl-C
    try:
        with never_lost():
            return int(options.command(options))
    except Exception as error:
        if not type(error).__module__.startswith("web3."):  # its import takes seconds
            raise
        raise ChainError(f"the node refused: {error}") from error


def _current_folder() -> str:
    try:
        return str(Path.cwd())
    except OSError as error:
        raise InvalidInputError(f"the current folder: {error.strerror}; allowed: one that is there") from error


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands. Modules that are slow to import are imported by their commands."""
    root = Parser(prog="fbfl", description="Federated learning in mobile edge computing, coordinated by Ethereum.")
    root.add_argument("--version", action="version", version=f"fbfl {__version__}")
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    _add_run(commands)
    _add_deploy(commands)
    _add_nodes(commands)
    _add_task(commands)
    _add_register(commands)
    _add_mec(commands)
    _add_device(commands)
    _add_token(commands)
    _add_queries(commands)
    _add_experiment(commands)
    _add_schema(commands)
    return root


def _add_run(commands: "argparse._SubParsersAction[Parser]") -> None:
    run = commands.add_parser("run", help="one federation end to end", description="One federation end to end.")
    add_options(run, Place.SIMULATION)
    run.add_argument("--output", type=Path, metavar="DIR", help="new folder for the results (default runs/<time>)")
    run.add_argument("--quiet", action="store_true", help="print nothing but errors")
    _add_deployment(run)
    run.set_defaults(command=_run)


def _add_deploy(commands: "argparse._SubParsersAction[Parser]") -> None:
    deploy = commands.add_parser("deploy", help="deploy the contracts", description="Deploy the contracts.")
    deploy.add_argument("--network", default="eth-tester", help="eth-tester, ganache, anvil, geth, or a JSON-RPC URL")
    deploy.add_argument("--mock-ethash", action="store_true", help="deploy EthashElection without proof of work, too")
    deploy.add_argument(
        "--consensus",
        action="append",
        default=[],
        metavar="NAME=ADDRESS",
        help="let tasks name a consensus contract that is deployed already; it may slash then; again for each",
    )
    _add_deployment(deploy)
    _add_key(deploy)
    deploy.set_defaults(command=_deploy)


def _add_deployment(command: Parser) -> None:
    """Add the option for the contracts on the network; see `fbfl.cli.network`."""
    command.add_argument(
        "--deployment",
        type=Path,
        metavar="FILE",
        help="file of fbfl deploy for the network (default deployments/CHAIN_ID.json)",
    )


def _add_key(command: Parser) -> None:
    """Add the options for the key to sign with; see `fbfl.cli.keys`."""
    key = command.add_mutually_exclusive_group()
    key.add_argument("--account", type=int, metavar="K", help="development account K (local networks only)")
    key.add_argument("--keystore", type=Path, metavar="FILE", help="encrypted key (default: the key in FBFL_KEY)")
    command.add_argument(
        "--password-file", type=Path, metavar="FILE", help="the keystore's password (default: FBFL_PASSWORD)"
    )


def _add_store(command: Parser) -> None:
    command.add_argument("--payloads", type=Path, metavar="DIR", help="the local store (default .fbfl/payloads)")


def _add_plugin(command: Parser) -> None:
    """Add the option for code that a task, which anyone may have created, may name."""
    command.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="a rule or model of your own that the task may name; again for each (default: none)",
    )


def _add_task(commands: "argparse._SubParsersAction[Parser]") -> None:
    group = commands.add_parser("task", help="own a task on a network", description="Commands of the owner of a task.")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    create = actions.add_parser("create", help="create a task", description="Create a task; prints its number.")
    add_options(create, Place.NETWORK)
    _add_store(create)
    create.add_argument(
        "--window", type=int, default=3600, metavar="S", help="seconds to submit in, and to commit in (default 3600)"
    )
    create.add_argument(
        "--consensus-contract", metavar="NAME", help="another consensus: a name of fbfl deploy --consensus"
    )
    create.add_argument("--retention", type=int, metavar="R", help="newest rounds to keep payloads of (default: all)")
    create.set_defaults(action="create")
    admit = actions.add_parser("admit", help="put servers on the allow-list")
    admit.add_argument("servers", nargs="+", metavar="ADDRESS", help="the account of a server")
    admit.set_defaults(action="admit")
    one = actions.add_parser("open", help="open the next round")
    one.set_defaults(action="open_round")
    drive = actions.add_parser("drive", help="open rounds, and move on those that are due, until enough are over")
    drive.add_argument("--rounds", type=int, required=True, metavar="R", help="play until round number R is over")
    drive.add_argument("--servers", type=int, default=1, metavar="N", help="wait for N members first (default 1)")
    drive.set_defaults(action="drive")
    end = actions.add_parser("end", help="end a task: no further round opens")
    end.set_defaults(action="end")
    reclaim = actions.add_parser("reclaim", help="take back the rewards that an ended task has left")
    reclaim.set_defaults(action="reclaim")
    for action in (admit, one, drive, end, reclaim):
        action.add_argument("--network", required=True, help="anvil, ganache, geth, or a JSON-RPC URL")
    for action in (one, drive, reclaim):
        action.add_argument("--task", type=int, metavar="T", help="the task (default: the newest)")
    end.add_argument("--task", type=int, required=True, metavar="T", help="the task; this cannot be undone")
    for action in (create, admit, one, drive, end, reclaim):
        _add_deployment(action)
        _add_key(action)
        action.set_defaults(command=_task)


def _add_register(commands: "argparse._SubParsersAction[Parser]") -> None:
    register = commands.add_parser(
        "register",
        help="register a MEC server before there is a task",
        description="Register a MEC server; prints its number, by which a task may name it. fbfl mec does it, too.",
    )
    register.add_argument("--network", required=True, help="anvil, ganache, geth, or a JSON-RPC URL")
    _add_deployment(register)
    _add_key(register)
    register.add_argument("--url", required=True, help="its address for the others")
    add_option(register, "stake", _STAKE)
    register.set_defaults(command=_register)


def _add_mec(commands: "argparse._SubParsersAction[Parser]") -> None:
    mec = commands.add_parser(
        "mec", help="one MEC server, until it is stopped", description="One MEC server of a task on a network."
    )
    add = mec.add_argument
    add("--network", required=True, help="anvil, ganache, geth, or a JSON-RPC URL")
    _add_deployment(mec)
    _add_key(mec)
    add("--task", type=int, metavar="T", help="the number of the task; required")
    data = mec.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, metavar="FILE", help="samples: .npz with x_train and y_train")
    data.add_argument("--dataset", help="or a share of a data set, as of fbfl run")
    data.add_argument("--devices", type=Path, metavar="FILE", help="or uploads of devices; FILE as of fbfl token")
    add("--share", metavar="I/N", help="the share: number I, from 0, of N")
    add_option(mec, "dataset_args")
    add_option(mec, "partition")
    add_option(mec, "partition_args")
    _add_plugin(mec)
    add_option(mec, "store", _WHERE)
    _add_store(mec)
    add("--port", type=int, default=8600, metavar="P", help="port of its endpoint (default 8600)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address on which it listens (default 127.0.0.1)")
    add("--url", help="its address for the others, in the registry (default http://127.0.0.1:P)")
    add("--peer", action="append", default=[], metavar="URL", help="URL of another server, if not as registered")
    add(
        "--patience",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds to wait for the server whose turn it is (default 30)",
    )
    add_option(mec, "stake", _STAKE)
    add(
        "--most-penalty",
        type=float,
        default=0.1,
        metavar="PART",
        help="largest part of the stake that a task may take for one mistake, 0 to 1 (default 0.1)",
    )
    add("--poll", type=float, default=0.5, metavar="S", help="seconds between looks at an idle chain (default 0.5)")
    add("--device-samples", type=int, default=100_000, metavar="N", help="most samples of a device (default 100000)")
    add("--state", type=Path, metavar="DIR", help="folder for its lock and devices' samples (default .fbfl)")
    mec.set_defaults(command=_mec)


def _add_device(commands: "argparse._SubParsersAction[Parser]") -> None:
    device = commands.add_parser(
        "device",
        help="one local device, until it is stopped",
        description="One local device: it collects samples, moves, and uploads to the MEC server it is attached to.",
    )
    add = device.add_argument
    add(
        "--mec",
        action="append",
        required=True,
        metavar="URL",
        help="a server's endpoint; again for each cell, in order",
    )
    add("--device", type=int, metavar="D", help="its number (default: I of --share)")
    add("--token-file", type=Path, metavar="FILE", help="its token (default: the one in FBFL_DEVICE_TOKEN)")
    data = device.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, metavar="FILE", help="samples: .npz with x_train and y_train")
    data.add_argument("--dataset", help="or a share of a data set, as of fbfl run")
    add("--share", metavar="I/N", help="the share: that of device I, from 0, of N")
    add("--servers", type=int, metavar="S", help="servers that the data set is split among first (default: the --mec)")
    add_option(device, "dataset_args")
    add_option(device, "partition")
    add_option(device, "partition_args")
    way = device.add_mutually_exclusive_group()
    way.add_argument("--trace", type=Path, metavar="FILE", help="its way: CSV with the columns seconds, cell")
    way.add_argument("--mobility", help="or a model: random_waypoint, or package.module:function (default: it stays)")
    add("--mobility-arg", action="append", default=[], metavar="KEY=VALUE", help="a parameter of trace or model")
    add_option(device, "seed", "of partition and mobility (default: 0)")
    add("--batch", type=int, default=1000, metavar="N", help="most samples of an upload (default 1000)")
    add("--once", action="store_true", help="end when servers have all its samples")
    add("--poll", type=float, default=0.5, metavar="S", help="seconds between looks while it is idle (default 0.5)")
    add("--state", type=Path, metavar="DIR", help="folder for its samples (default .fbfl/devices/D)")
    device.set_defaults(command=_device)


def _add_token(commands: "argparse._SubParsersAction[Parser]") -> None:
    token = commands.add_parser(
        "token", help="give devices tokens", description="Make tokens that let devices upload to servers."
    )
    token.add_argument("numbers", nargs="+", type=int, metavar="D", help="the number of a device, from 0")
    token.add_argument(
        "--devices", type=Path, required=True, metavar="FILE", help="the servers' file of devices, with hashes only"
    )
    token.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder for the device-D.token files (default: beside FILE)"
    )
    token.set_defaults(command=_token)


def _add_nodes(commands: "argparse._SubParsersAction[Parser]") -> None:
    for name, nodes in (("chain", "Ethereum nodes"), ("ipfs", "IPFS (Kubo) nodes")):
        group = commands.add_parser(name, help=f"start and stop local {nodes}", description=f"Local {nodes}.")
        actions = group.add_subparsers(title="actions", metavar="up|down|status", required=True, parser_class=Parser)
        what = {"up": "start them and wait until they are ready", "down": "stop them", "status": "how they are"}
        for action, explanation in what.items():
            one = actions.add_parser(action, help=explanation, description=f"Local {nodes}: {explanation}.")
            if name == "chain":
                one.add_argument("--network", required=True, help="anvil, ganache, or geth (mines with ethash)")
            one.add_argument("--state", type=Path, metavar="DIR", help="folder for their data (default .fbfl)")
            if action == "up":
                one.add_argument("--nodes", type=int, help="how many (default: as last time, or 1; geth and Kubo 2)")
                one.add_argument("--port", type=int, help="port of the first; others follow (default: as last time)")
                one.add_argument("--timeout", type=float, help="seconds until all must be ready (default 120; Kubo 60)")
            if action == "up" and name == "chain":
                one.add_argument(
                    "--ethash-test",
                    action=argparse.BooleanOptionalAction,
                    help="geth: seal blocks with a data set of 32 KiB, there at once; nobody else verifies them",
                )
            if action == "down":
                one.add_argument("--forget", action="store_true", help="remove their data, too")
            one.set_defaults(command=_nodes, kind=name, action=action)
    group = commands.add_parser("nodes", help="get node programs", description="Programs of nodes for this machine.")
    actions = group.add_subparsers(title="actions", metavar="install", required=True, parser_class=Parser)
    install = actions.add_parser("install", help="get them, in pinned versions, from npm and with Go")
    install.add_argument("names", nargs="*", metavar="NAME", help="anvil, ganache, geth, kubo (default: all)")
    install.set_defaults(command=_install)


def _add_queries(commands: "argparse._SubParsersAction[Parser]") -> None:
    rounds = commands.add_parser("rounds", help="the rounds on the chain, a line each")
    rounds.add_argument("--json", action="store_true", help="a JSON list")
    one = commands.add_parser("round", help="one round: updates, votes, leader, gas")
    one.add_argument("number", type=int, metavar="R", help="the round, from 1")
    one.add_argument("--json", action="store_true", help="a JSON object")
    blocks = commands.add_parser("blocks", help="one block per finished round, as JSON")
    blocks.add_argument("--tensors", action="store_true", help="with the tensors of every payload")
    audit = commands.add_parser("audit", help="recompute every round from chain and payloads")
    audit.add_argument(
        "--geth",
        nargs="?",
        const="",
        metavar="PATH",
        help="also execute the chain of the run again with stock geth 1.11.6 (default: that of fbfl nodes install)",
    )
    for command in (blocks, audit):
        _add_plugin(command)
    for command, function in ((rounds, _rounds), (one, _round), (blocks, _blocks), (audit, _audit)):
        where = command.add_mutually_exclusive_group()
        where.add_argument("--network", help="a running network: anvil, ganache, geth, or a JSON-RPC URL")
        where.add_argument("--run", type=Path, metavar="DIR", help="the folder of a run (default: the newest in runs/)")
        _add_deployment(command)
        command.add_argument("--task", type=int, metavar="T", help="the task on the network (default: the newest)")
        add_option(command, "store", _WHERE)
        _add_store(command)
        command.set_defaults(command=function)


def _add_experiment(commands: "argparse._SubParsersAction[Parser]") -> None:
    one = commands.add_parser("experiment", help="reproduce a figure", description="Reproduce figures of the paper.")
    one.add_argument("name", metavar="NAME|all", help="experiments/NAME.toml, here or of fbfl, all of them, or a path")
    one.add_argument("--seeds", type=int, help="seeds of each variant (default: as defined, 5)")
    one.add_argument("--jobs", type=int, metavar="J", help="runs at a time, a process each (default: one per core)")
    stored = one.add_mutually_exclusive_group()
    stored.add_argument("--resume", action="store_true", help="keep the runs that are stored already (the default)")
    stored.add_argument("--fresh", action="store_true", help="delete them, and play all anew")
    one.add_argument("--quick", action="store_true", help="small data, few rounds: a quick trial")
    one.add_argument("--backend", default="joblib", help="joblib (default), or ray for a cluster at RAY_ADDRESS")
    one.add_argument(
        "--output", type=Path, metavar="DIR", help="default experiments/, or beside a path; with --quick runs/quick"
    )
    one.add_argument("--quiet", action="store_true", help="print nothing but errors")
    one.set_defaults(command=_experiment)


def _add_schema(commands: "argparse._SubParsersAction[Parser]") -> None:
    schema = commands.add_parser(
        "schema", help="the settings that a file may hold", description="JSON Schema of settings."
    )
    schema.add_argument("--markdown", action="store_true", help="as a guide (docs/settings.md) instead")
    schema.set_defaults(command=_schema)


def _schema(options: argparse.Namespace) -> int:
    from fbfl.cli.schema import schema

    return schema(options)


def _run(options: argparse.Namespace) -> int:
    from fbfl.cli.run import run

    return run(options)


def _deploy(options: argparse.Namespace) -> int:
    from fbfl.cli.deploy import deploy

    return deploy(options)


def _task(options: argparse.Namespace) -> int:
    from fbfl.cli import task

    return int(getattr(task, options.action)(options))


def _register(options: argparse.Namespace) -> int:
    from fbfl.cli.register import register

    return register(options)


def _mec(options: argparse.Namespace) -> int:
    from fbfl.cli.mec import mec

    return mec(options)


def _device(options: argparse.Namespace) -> int:
    from fbfl.cli.device import device

    return device(options)


def _token(options: argparse.Namespace) -> int:
    from fbfl.cli.device import token

    return token(options)


def _install(options: argparse.Namespace) -> int:
    from fbfl.cli.install import install

    return install(options)


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


def _experiment(options: argparse.Namespace) -> int:
    from fbfl.cli.experiment import experiment

    return experiment(options)
