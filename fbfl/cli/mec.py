"""`fbfl mec`: one MEC server as a process of its own."""

import argparse
import contextlib
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.cli.keys import account_of, add_key
from fbfl.cli.network import (
    add_deployment,
    add_network,
    add_plugin,
    add_store,
    ledger_on,
    plugins_of,
    store_of,
    tasks_on,
)
from fbfl.cli.parser import Commands
from fbfl.cli.register import add_stake
from fbfl.cli.samples import add_samples, own_samples, refuse_share, share_of
from fbfl.cli.settings import add_option, given, option_of, taken
from fbfl.errors import FbflError, InvalidInputError
from fbfl.settings import FLOWER, default_of
from fbfl.values import checks

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from starlette.routing import BaseRoute

    from fbfl.chain.ledger import Ledger
    from fbfl.chain.participant import Participant
    from fbfl.chain.task import Task
    from fbfl.learning.datasets import Dataset
    from fbfl.learning.partition import Indices
    from fbfl.learning.tensor_names import Names
    from fbfl.mec.app_node import AppNode
    from fbfl.mec.board import HttpBoard
    from fbfl.mec.exchange import Exchange, Patience
    from fbfl.mec.plan import TaskPlan
    from fbfl.mec.samples import SampleStore

LISTED = 10
"""Most tasks to list if none is named."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "mec", help="one MEC server, until it is stopped", description="One MEC server of a task on a network."
    )
    add_network(command)
    add_deployment(command)
    add_key(command)
    add = command.add_argument
    add("--task", type=int, metavar="T", help="the number of the task; required")
    data = add_samples(command)
    data.add_argument("--devices", type=Path, metavar="FILE", help="or uploads of devices; FILE as of fbfl token")
    data.add_argument("--app", type=Path, metavar="DIR", help="or a node of a Flower app, which trains on its own")
    add("--share", metavar="I/N", help="the share of the data set, or the node of the app: number I, from 0, of N")
    add_option(command, "dataset_args")
    add_option(command, "model", "the model that it trains, where it trains by another trainer than the task says")
    add_option(
        command,
        "trainer",
        "what trains here, if not as the task says: keras, torch, flower with --app, or package.module:function",
    )
    add_option(
        command,
        "trainer_args",
        "one of the parameters of that trainer; names=FILE has the task's names of its tensors",
    )
    add_option(command, "loss", "the loss here, if not as the task says: a name, or one of the trainer's framework")
    add_option(command, "partition")
    add_option(command, "partition_args")
    add_plugin(command)
    add_store(command)
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
    add_stake(command)
    add(
        "--most-penalty",
        type=float,
        default=0.1,
        metavar="PART",
        help="largest part of the stake that the task may take for one mistake, 0 to 1 (default 0.1)",
    )
    add(
        "--most-loss",
        type=float,
        default=0.5,
        metavar="PART",
        help="part of the stake that all penalties of the task may take, 0 to 1; it leaves before (default 0.5)",
    )
    add("--poll", type=float, default=0.5, metavar="S", help="seconds between looks at an idle chain (default 0.5)")
    add("--device-samples", type=int, default=100_000, metavar="N", help="most samples of a device (default 100000)")
    add("--state", type=Path, metavar="DIR", help="folder for its lock and devices' samples (default .fbfl)")
    command.set_defaults(command=mec)


def refuse_costly(task: "Task", most: float) -> None:
    """Raise `InvalidInputError` for a task that may take more of the stake than its operator allows: anybody can create
    tasks, with any penalties.
    """
    if not 0 <= most <= 1:
        raise InvalidInputError(f"--most-penalty {most:g}; allowed: 0 to 1, parts of the stake")
    if task.dearest > most:
        raise InvalidInputError(
            f"task {task.id} takes {task.dearest:g} of the stake for a withheld payload or a rejected proposal; "
            f"allowed by --most-penalty: {most:g}"
        )


def within_view(patience: float, view_timeout: float, waits: int) -> float:
    """Return the seconds to wait for others: a view outlasts more than `waits` waits in it, one after the other.

    Otherwise one member that is silent, or withholds its payload, would end every view.
    """
    return min(patience, view_timeout / (waits + 1))


def chosen_task(ledger: "Ledger", number: int | None) -> "Task":
    """Return the task with a number. Without one, `InvalidInputError` lists the newest tasks and the stake they may
    take: anybody can create tasks, so a server joins none that was not named.
    """
    if number is not None:
        return ledger.task(number)
    created = tasks_on(ledger)
    newest = [_described(ledger, each) for each in created[: -LISTED - 1 : -1]]
    older = f" and {len(created) - LISTED} older" if len(created) > LISTED else ""
    raise InvalidInputError(f"no task is named; allowed: --task T, of {', '.join(newest)}{older}")


def _described(ledger: "Ledger", number: int) -> str:
    try:
        return f"{number} (takes up to {ledger.task(number).dearest:g} of the stake)"
    except FbflError:  # not a task of fbfl
        return f"{number} (cannot be read)"


def mec(options: argparse.Namespace) -> int:
    """Run an agent until it is told to end."""
    from eth_hash.auto import keccak

    from fbfl.chain.participant import Participant
    from fbfl.chain.transactions import Sender
    from fbfl.mec.agent import Agent, LocalTraining, only_one
    from fbfl.mec.board import HttpBoard, board_routes
    from fbfl.mec.courier import check_url
    from fbfl.mec.endpoint import LOOPBACK, application, serving
    from fbfl.mec.exchange import REJECTION_COLLECTORS, PatienceInSeconds
    from fbfl.mec.plan import TaskPlan
    from fbfl.mec.retention import Retention
    from fbfl.mec.server import MECServer
    from fbfl.nodes.processes import STATE
    from fbfl.storage.shared import SharedStore
    from fbfl.system.jsonlog import log_as_json

    if not 1 <= options.port <= 65535:
        raise InvalidInputError(f"--port {options.port}; allowed: 1 to 65535")
    stake = taken(options, "stake")
    for name in ("poll", "patience"):
        checks.seconds(f"--{name}", getattr(options, name))
    for peer in options.peer:
        check_url(peer)
    if options.url is not None:
        check_url(options.url, "--url")
    plugins = plugins_of(options)
    own, names = _own_trainer(options)
    ledger = ledger_on(options.network, options.deployment, options.task)
    account = account_of(options, ledger.chain_id)
    task = chosen_task(ledger, options.task)
    refuse_costly(task, options.most_penalty)
    if not 0 <= options.most_loss <= 1:
        raise InvalidInputError(f"--most-loss {options.most_loss:g}; allowed: 0 to 1, parts of the stake")
    plan = TaskPlan.of(task, plugins, own)
    if plan.trainer == FLOWER and options.app is None:
        raise InvalidInputError(
            f"trainer is {FLOWER} but no app is named; allowed: --trainer {FLOWER} --app DIR --share I/N, or another "
            "trainer"
        )
    participant = Participant(ledger, Sender(ledger.w3, account))
    folder = (options.state or STATE) / "mec" / f"{ledger.chain_id}-{account.address}"
    samples: SampleStore
    uploads: list[BaseRoute] = []
    node = None if options.app is None else _node(options, plan, names)
    if node is not None:
        samples = node
    elif options.devices is not None:
        samples, uploads = _uploaded(options, plan, folder / _samples_file(ledger, task))
    else:
        samples = _own(options, plan)
    training = node or LocalTraining(participant, task.id, plan, samples, names=names)
    board = (
        HttpBoard(
            ledger_on(options.network, options.deployment, options.task), task, account.address, peers=options.peer
        )
        if plan.signatures
        else None
    )
    holder = f"{ledger.chain_id} {ledger.tasks.address} {task.id} {account.address}"
    store = SharedStore(store_of(options), folder.parent, holder)
    terms = ledger.terms(task.id)
    view = math.inf if terms is None else terms.view_timeout
    # For each who may collect votes, and to send one's own, with time to spare.
    for_votes = PatienceInSeconds(within_view(options.patience, view, REJECTION_COLLECTORS + 2))
    exchange = _exchange(board, participant, task, account, for_votes, folder) if board else None
    # Salts follow from the key: nobody else knows them, and a restarted agent has the same.
    server = MECServer(
        participant,
        store,
        task,
        plan,
        training,
        samples,
        exchange=exchange,
        salt_secret=keccak(b"fbfl salts" + bytes(account.key)),
        patience=PatienceInSeconds(within_view(options.patience, view, 1)),
        counted=node.counted if node else None,
    )
    url = options.url or f"http://{LOOPBACK}:{options.port}"
    retention = Retention(ledger, store, task, plan.retention)
    agent = Agent(
        server,
        training,
        url=url,
        stake=stake,
        poll=options.poll,
        patience=options.patience,
        retention=retention,
        most_loss=options.most_loss,
    )
    routes = [*uploads, *(board_routes(board) if board else [])]
    sending = contextlib.closing(board) if board else contextlib.nullcontext()

    log_as_json(address=account.address, task=task.id)
    with only_one(folder, agent), sending, serving(application(agent, routes), options.port, options.host):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()
    return 0


def _own_trainer(options: argparse.Namespace) -> "tuple[dict[str, Any], Names | None]":
    """Return what the command line says instead of the task of model and trainer, and the names of the tensors."""
    from fbfl.learning import tensor_names

    names = ("model", "trainer", "trainer_args", "loss")
    said = given(options)
    own = {name: value for name, value in said.items() if name in names}
    file = own.get("trainer_args", {}).pop("names", None)
    if options.app is not None:
        _refuse_with_app(options.app, said)
        own["model"] = default_of("model")  # the task's is nothing to it, and may be code
    if "trainer" in own:
        own.setdefault("trainer_args", {})
    elif own.get("trainer_args") == {}:
        del own["trainer_args"]
    return own, None if file is None else tensor_names.read(Path(str(file)))


def _refuse_with_app(app: Path, said: Mapping[str, Any]) -> None:
    """Refuse what means nothing for a node of a Flower app, or is the app's own affair."""
    if said.get("trainer") != FLOWER:
        raise InvalidInputError(f"--app {app}; allowed: only with --trainer {FLOWER}")
    for name in ("model", "loss", "dataset_args", "partition", "partition_args"):
        if name in said:
            raise InvalidInputError(f"{option_of(name)} is given with --app; allowed: none, the app has its own")
    for name in ("app", "servers"):
        if name in said.get("trainer_args", {}):
            raise InvalidInputError(f"--trainer-arg {name}; allowed: --app DIR --share I/N")


def _node(options: argparse.Namespace, plan: "TaskPlan", names: "Names | None") -> "AppNode":
    """Start the app, and return the node of it that `--share` names."""
    from fbfl.learning.trainer import DataHolder, make
    from fbfl.learning.training import Purpose, TrainingSettings
    from fbfl.mec.app_node import AppNode

    if options.share is None:
        raise InvalidInputError(f"--app {options.app}: needs --share I/N, one of its N nodes, from 0")
    number, count = share_of(options.share)
    arguments = {**plan.trainer_args, "app": str(options.app), "servers": count}
    purpose = Purpose(plan.model, TrainingSettings(), plan.input_shape, plan.num_classes, plan.seed)

    def start() -> DataHolder:
        app = make(FLOWER, arguments, purpose, lanes=1)
        assert isinstance(app, DataHolder)
        return app

    return AppNode(start, number, plan.spec, names)


def _exchange(
    board: "HttpBoard",
    participant: "Participant",
    task: "Task",
    account: "LocalAccount",
    patience: "Patience",
    folder: Path,
) -> "Exchange":
    from fbfl.mec.exchange import Exchange, vote_domain
    from fbfl.mec.signed_votes import SignedVotes

    ledger = participant.ledger
    # Votes signed before the file existed, perhaps on another machine, are for rounds up to this one.
    signed = SignedVotes(
        account, vote_domain(ledger, task), folder / "votes.sqlite", unsure=ledger.state(task.id).round
    )
    return Exchange(board, participant, task, account, patience, signed=signed)


def _uploaded(options: argparse.Namespace, plan: "TaskPlan", file: Path) -> "tuple[SampleStore, list[BaseRoute]]":
    """Return the store for what devices upload, and the routes for uploads."""
    from fbfl.mec.ingest import ingest_routes
    from fbfl.mec.sample_database import SampleDatabase
    from fbfl.mec.tokens import DeviceTokens

    refuse_share(options)
    if options.device_samples < 1:
        raise InvalidInputError(f"--device-samples {options.device_samples}; allowed: 1 or more")
    tokens = DeviceTokens(options.devices)
    form = plan.sample_form
    samples = SampleDatabase(file, plan.input_shape, options.device_samples, label_type=form.label_type)
    return samples, ingest_routes(samples, tokens, form)


def _samples_file(ledger: "Ledger", task: "Task") -> str:
    """Return a file name for each task of each chain: a chain made anew has the same id, but another block 1.

    That block is older than any task, and so out of reach of reorganisations.
    """
    from eth_typing import BlockNumber

    first = bytes(ledger.w3.eth.get_block(BlockNumber(1))["hash"])
    return f"samples-{task.id}-{first.hex()[:16]}.sqlite"


def _own(options: argparse.Namespace, plan: "TaskPlan") -> "SampleStore":
    """Return a store with the samples of `--data`, or of the share of `--dataset`."""
    from fbfl.learning.partition import resolve as resolve_partition
    from fbfl.mec.samples import Batch, MemorySampleStore

    partition = resolve_partition(taken(options, "partition"), **taken(options, "partition_args"))

    def part(dataset: "Dataset", number: int, count: int) -> "Indices":
        return partition(dataset.y_train, count, seed=plan.seed, device_of=dataset.device_of)[number]

    x, y = own_samples(options, part, plan.num_classes)
    if (problem := plan.sample_form.problem(x, y)) is not None:
        raise InvalidInputError(problem)
    store = MemorySampleStore()
    if len(y):
        store.receive(Batch(device=0, first=0, x=x, y=y))
    return store
