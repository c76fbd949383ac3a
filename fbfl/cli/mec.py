"""`fbfl mec`: one MEC server as a process of its own."""

import argparse
import contextlib
import logging
import signal

import numpy as np
from eth_hash.auto import keccak

from fbfl.chain.participant import Participant
from fbfl.chain.transactions import Sender
from fbfl.cli.keys import account_of
from fbfl.cli.network import ledger_on, store_of, task_on
from fbfl.errors import InvalidInputError
from fbfl.jsonlog import JsonFormatter
from fbfl.learning import datasets
from fbfl.learning.partition import resolve as resolve_partition
from fbfl.learning.plugins import parse_settings
from fbfl.mec.agent import Agent, LocalTraining, only_one
from fbfl.mec.board import HttpBoard, board_routes
from fbfl.mec.courier import check_url
from fbfl.mec.endpoint import LOOPBACK, application, serving
from fbfl.mec.exchange import Exchange, PatienceInSeconds
from fbfl.mec.plan import TaskPlan
from fbfl.mec.retention import Retention
from fbfl.mec.samples import Array, Batch, MemorySampleStore, SampleStore
from fbfl.mec.server import MECServer
from fbfl.processes import STATE


def mec(options: argparse.Namespace) -> int:
    """Run an agent until it is told to end."""
    if not 1 <= options.port <= 65535:
        raise InvalidInputError(f"--port {options.port}: allowed are 1 to 65535")
    if options.stake < 0:
        raise InvalidInputError(f"--stake {options.stake}: allowed are 0 or more wei")
    for name in ("poll", "patience"):
        if not getattr(options, name) > 0:
            raise InvalidInputError(f"--{name} {getattr(options, name):g}: allowed are more than 0 seconds")
    for peer in options.peer:
        check_url(peer)
    ledger = ledger_on(options.network)
    account = account_of(options, ledger.chain_id)
    task = task_on(ledger, options.task)
    plan = TaskPlan.of(task)
    participant = Participant(ledger, Sender(ledger.w3, account))
    samples = _samples(options, plan)
    training = LocalTraining(participant, task.id, plan, samples)
    board = (
        HttpBoard(ledger_on(options.network), task, account.address, peers=options.peer) if plan.signatures else None
    )
    patience = PatienceInSeconds(options.patience)
    store = store_of(options)
    # Nobody without the key can know the salts; a restarted agent has the same.
    server = MECServer(
        participant,
        store,
        task,
        plan,
        training,
        samples,
        exchange=Exchange(board, participant, task, account, patience) if board else None,
        salt_secret=keccak(b"fbfl salts" + bytes(account.key)),
    )
    url = options.url or f"http://{LOOPBACK}:{options.port}"
    retention = Retention(ledger, store, task, plan.retention)
    agent = Agent(server, training, url=url, stake=options.stake, poll=options.poll, retention=retention)
    routes = board_routes(board) if board else []
    sending = contextlib.closing(board) if board else contextlib.nullcontext()

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(address=account.address, task=task.id))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("fbfl").setLevel(logging.INFO)
    folder = (options.state or STATE) / "mec" / f"{ledger.chain_id}-{account.address}"
    with only_one(folder, agent), sending, serving(application(agent, routes), options.port, options.host):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()
    return 0


def _samples(options: argparse.Namespace, plan: TaskPlan) -> SampleStore:
    x, y = _arrays(options, plan)
    if x.shape[1:] != plan.input_shape:
        raise InvalidInputError(f"samples have the shape {x.shape[1:]}; allowed in this task: {plan.input_shape}")
    if len(y) and not 0 <= y.min() <= y.max() < plan.num_classes:
        raise InvalidInputError(f"labels are {y.min()} to {y.max()}; allowed in this task: 0 to {plan.num_classes - 1}")
    store = MemorySampleStore()
    if len(y):
        store.receive(Batch(device=0, first=0, x=x, y=y))
    return store


def _arrays(options: argparse.Namespace, plan: TaskPlan) -> tuple[Array, Array]:
    if options.data is not None:
        if options.share is not None:
            raise InvalidInputError(f"--share {options.share}: allowed only with --dataset")
        return datasets.load_samples(options.data)
    if options.share is None:
        raise InvalidInputError(f"--dataset {options.dataset}: needs --share I/N, the part that is this server's")
    number, _, count = options.share.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise InvalidInputError(f"--share {options.share}: allowed are I/N with I from 0 to N-1")
    dataset = datasets.load(options.dataset)
    partition = resolve_partition(options.partition, **parse_settings(options.partition_arg))
    share = partition(dataset.y_train, int(count), seed=plan.seed)[int(number)]
    return dataset.x_train[share], np.asarray(dataset.y_train[share])
