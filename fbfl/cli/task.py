"""`fbfl task`: what the owner of a task does on a running network."""

import argparse
import sys

from eth_utils.address import is_address
from web3 import Web3

from fbfl import settings as run_settings
from fbfl.chain.ledger import Ledger, Task, TaskState
from fbfl.chain.participant import Participant
from fbfl.chain.transactions import Sender
from fbfl.cli.keys import account_of
from fbfl.cli.network import ledger_on, store_of, task_on
from fbfl.cli.settings import given
from fbfl.errors import InvalidInputError
from fbfl.settings import LARGEST, RunSettings
from fbfl.values.fields import Place


def create(options: argparse.Namespace) -> int:
    """Create a task from the settings of a run; prints its number."""
    values = run_settings.read_values(options.config, given(options))
    run_settings.refuse_elsewhere(values, Place.NETWORK, "", "on a network: only with fbfl run")
    settings = RunSettings(**values)  # type: ignore[arg-type]  # checked by read_values
    units = {"window": "seconds", "retention": "rounds"}
    for name, unit in units.items():
        value = getattr(options, name)
        if value is not None and not 1 <= value <= LARGEST:
            raise InvalidInputError(f"--{name.replace('_', '-')} {value}; allowed: 1 to {LARGEST} {unit}")
    owner = _owner(options, ledger_on(settings.network, options.deployment))
    options.store = settings.store
    store = store_of(options)

    from fbfl import simulation
    from fbfl.learning import datasets
    from fbfl.mec import tasks

    servers = owner.ledger.servers()
    simulation.check(settings, registered=len(servers))
    dataset = datasets.load(settings.dataset or "mnist", settings.dataset_args, fallback=settings.dataset is None)
    for text in filter(None, (dataset.note, *dataset.warnings)):
        print(text, file=sys.stderr)
    trainer = tasks.trainer_of(settings, dataset, lanes=1)
    plan = tasks.plan_of(settings, trainer, dataset, servers, options.retention)
    least, most = tasks.least_updates(plan.rule, settings.servers), settings.servers - tasks.tolerated(settings.servers)
    if settings.servers > 1 and least > most:
        raise InvalidInputError(
            f"aggregator {settings.aggregator} needs {least} updates; allowed with {settings.servers} servers, some of "
            f"which may be absent: rules that need at most {most}"
        )
    task = tasks.create_task(
        owner, store, settings, plan, trainer, dataset, window=options.window, consensus=options.consensus_contract
    )
    tasks.promise_rewards(owner, task, settings)
    most_samples = settings.max_samples or tasks.most_samples(settings, dataset)
    print(f"an update counts for {most_samples} samples at most", file=sys.stderr)
    print(f"task {task}")
    return 0


def admit(options: argparse.Namespace) -> int:
    """Put servers on the registry's allow-list; those that are active already stay as they are."""
    for server in options.servers:
        if not is_address(server):
            raise InvalidInputError(f"{server!r} is not an address; allowed: 20 bytes as hex")
    owner = _owner(options, ledger_on(options.network, options.deployment))
    for server in map(Web3.to_checksum_address, options.servers):
        if not owner.ledger.is_active(server):
            owner.admit(server)
        print(f"admitted {server}")
    return 0


def open_round(options: argparse.Namespace) -> int:
    """Open one round."""
    owner, task = _owner_and_task(options)
    owner.open_round(task.id)
    print(f"task {task.id}: round {owner.ledger.state(task.id).round} is open")
    return 0


def drive(options: argparse.Namespace) -> int:
    """Open rounds and move overdue ones on until enough are over."""
    for name in ("rounds", "servers"):
        if getattr(options, name) < 1:
            raise InvalidInputError(f"--{name} {getattr(options, name)}; allowed: 1 or more")
    owner, task = _owner_and_task(options)

    from fbfl.mec import tasks

    def say(state: TaskState) -> None:
        print(f"task {task.id}: round {state.round} is {state.phase.name.lower()}", flush=True)

    tasks.drive(owner, task.id, rounds=options.rounds, servers=options.servers, over=say)
    return 0


def end(options: argparse.Namespace) -> int:
    """End a task: no further round opens."""
    owner, task = _owner_and_task(options)
    owner.end_task(task.id)
    print(f"task {task.id} has ended with round {owner.ledger.state(task.id).round}")
    return 0


def reclaim(options: argparse.Namespace) -> int:
    """Take back the money that no round of an ended task can earn any more."""
    owner, task = _owner_and_task(options)
    print(f"task {task.id}: {owner.reclaim_rewards(task.id)} wei are back")
    return 0


def _owner_and_task(options: argparse.Namespace) -> tuple[Participant, Task]:
    """Return the account that the options name, and the task."""
    owner = _owner(options, ledger_on(options.network, options.deployment))
    return owner, task_on(owner.ledger, options.task)


def _owner(options: argparse.Namespace, ledger: Ledger) -> Participant:
    return Participant(ledger, Sender(ledger.w3, account_of(options, ledger.chain_id)))
