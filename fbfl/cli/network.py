"""Arguments shared by commands on a running network: its ledger, a task on it, the payloads beside it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fbfl.cli.parser import Parser
from fbfl.cli.settings import add_option, taken
from fbfl.errors import InvalidInputError

if TYPE_CHECKING:
    from fbfl.chain.ledger import Ledger
    from fbfl.chain.task import Task
    from fbfl.storage.store import Store


def add_network(command: Parser) -> None:
    """Add the option for a network that runs."""
    command.add_argument("--network", required=True, help="anvil, ganache, geth, or a JSON-RPC URL")


def add_deployment(command: Parser) -> None:
    """Add the option for the contracts on the network; `ledger_on` and `deployment_on` take it."""
    command.add_argument(
        "--deployment",
        type=Path,
        metavar="FILE",
        help="file of fbfl deploy for the network (default deployments/CHAIN_ID.json)",
    )


def add_plugin(command: Parser) -> None:
    """Add the option for code that a task, which anyone may have created, may name; `plugins_of` reads it."""
    command.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="code of your own that the task, or a run that goes on, may name, also the folder of a Flower app; again "
        "for each (default: none)",
    )


def add_store(command: Parser) -> None:
    """Add the options for the store of payloads; `store_of` reads them."""
    add_option(command, "store", "store of payloads: local (default; see --payloads) or ipfs")
    add_payloads(command)


def add_payloads(command: Parser) -> None:
    """Add the option for the folder of the local store."""
    command.add_argument("--payloads", type=Path, metavar="DIR", help="the local store (default .fbfl/payloads)")


def ledger_on(network: str, deployment: Path | None = None, task: int | None = None) -> "Ledger":
    """Return the ledger that `fbfl deploy` recorded in the file `deployment` (default: deployments/CHAIN_ID.json).

    With `task`, it is of that task alone.
    """
    from fbfl.chain.deployment.deploy import DEPLOYMENTS, file_of, open_ledger
    from fbfl.chain.networks import EMBEDDED, connect

    if network == EMBEDDED:
        raise InvalidInputError(
            f"--network {EMBEDDED}: its chain lives as long as a run, whose folder queries take as --run DIR; "
            "allowed: anvil, ganache, geth, or a JSON-RPC URL"
        )
    w3 = connect(network)
    return open_ledger(w3, deployment or file_of(w3, DEPLOYMENTS), task)


def deployment_on(network: str, deployment: Path | None) -> Path | None:
    """Return the file that records what is deployed on a network that lasts; one that does not answer raises."""
    from fbfl.chain.deployment.deploy import DEPLOYMENTS, file_of
    from fbfl.chain.networks import EMBEDDED, connect

    if network != EMBEDDED:
        return deployment or file_of(connect(network), DEPLOYMENTS)
    if deployment is not None:
        raise InvalidInputError(f"--deployment {deployment}; allowed: only with --network of a running node")
    return None


def task_on(ledger: "Ledger", number: int | None) -> "Task":
    """Return a task by its number; the newest one if none is given."""
    return ledger.task(tasks_on(ledger)[-1] if number is None else number)


def tasks_on(ledger: "Ledger") -> list[int]:
    """Return the numbers of all tasks, the newest last; raise `InvalidInputError` if there are none."""
    created = [event.args["task"] for event in ledger.events("TaskCreated")]
    if not created:
        raise InvalidInputError("there is no task on this network; create one with fbfl task create")
    return created


def plugins_of(options: argparse.Namespace) -> frozenset[str]:
    """Return the functions, and the folders of Flower apps, that `--plugin` allows tasks and settings to name."""
    for name in options.plugin:
        module, _, function = name.partition(":")
        if not (module and function) and not Path(name).is_dir():
            raise InvalidInputError(f"--plugin {name}; allowed: package.module:function")
    return frozenset(options.plugin)


def store_of(options: argparse.Namespace) -> "Store":
    """Return the store that `--store` and `--payloads` name."""
    from fbfl.nodes.processes import STATE
    from fbfl.storage.ipfs import IpfsStore
    from fbfl.storage.local import LocalStore

    kind = taken(options, "store")
    return IpfsStore() if kind == "ipfs" else LocalStore(options.payloads or STATE / "payloads")
