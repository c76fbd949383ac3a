"""`fbfl task`: what the owner of a task does on a running network."""

import argparse
import sys
from typing import TYPE_CHECKING

from fbfl import settings as run_settings
from fbfl.cli.keys import add_key, participant_of
from fbfl.cli.network import add_deployment, add_network, add_payloads, ledger_on, store_of, task_on
from fbfl.cli.parser import Commands
from fbfl.cli.settings import add_options, given
from fbfl.errors import InvalidInputError
from fbfl.settings import LARGEST, RunSettings
from fbfl.values.fields import Place

if TYPE_CHECKING:
    from fbfl.chain.participant import Participant
    from fbfl.chain.task import Task


def add_parser(commands: Commands) -> None:
    """Add the command with its actions."""
    group = commands.add_parser("task", help="own a task on a network", description="Commands of the owner of a task.")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    creating = actions.add_parser("create", help="create a task", description="Create a task; prints its number.")
    add_options(creating, Place.NETWORK)
    add_payloads(creating)
    creating.add_argument(
        "--window", type=int, default=3600, metavar="S", help="seconds to submit in, and to commit in (default 3600)"
    )
    creating.add_argument(
        "--consensus-contract", metavar="NAME", help="another consensus: a name of fbfl deploy --consensus"
    )
    creating.add_argument("--retention", type=int, metavar="R", help="newest rounds to keep payloads of (default: all)")
    creating.set_defaults(command=create)
    admitting = actions.add_parser("admit", help="put servers on the allow-list")
    admitting.add_argument("servers", nargs="+", metavar="ADDRESS", help="the account of a server")
    admitting.set_defaults(command=admit)
    opening = actions.add_parser("open", help="open the next round")
    opening.set_defaults(command=open_round)
    driving = actions.add_parser("drive", help="open rounds, and move on those that are due, until enough are over")
    driving.add_argument("--rounds", type=int, required=True, metavar="R", help="play until round number R is over")
    driving.add_argument("--servers", type=int, default=1, metavar="N", help="wait for N members first (default 1)")
    driving.set_defaults(command=drive)
    ending = actions.add_parser("end", help="end a task: no further round opens")
    ending.set_defaults(command=end)
    reclaiming = actions.add_parser("reclaim", help="take back the rewards that an ended task has left")
    reclaiming.set_defaults(command=reclaim)
    for action in (admitting, opening, driving, ending, reclaiming):
        add_network(action)
    for action in (opening, driving, reclaiming):
        action.add_argument("--task", type=int, metavar="T", help="the task (default: the newest)")
    ending.add_argument("--task", type=int, required=True, metavar="T", help="the task; this cannot be undone")
    for action in (creating, admitting, opening, driving, ending, reclaiming):
        add_deployment(action)
        add_key(action)


def create(options: argparse.Namespace) -> int:
    """Create a task from the settings of a run; prints its number."""
    values = run_settings.read_values(options.config, given(options))
    if values.get("draw") == "seed" and values.get("participation", 1) != 1:
        raise InvalidInputError("draw is 'seed'; allowed on a network: chain, the contract that opens a round")
    if values.get("draw") == "chain":  # a file may say so: it is what a task on a network does
        del values["draw"]
    run_settings.refuse_elsewhere(values, Place.NETWORK, "", "on a network: only with fbfl run")
    values["draw"] = "chain"
    settings = RunSettings(**values)  # type: ignore[arg-type]  # checked by read_values
    units = {"window": "seconds", "retention": "rounds"}
    for name, unit in units.items():
        value = getattr(options, name)
        if value is not None and not 1 <= value <= LARGEST:
            raise InvalidInputError(f"--{name.replace('_', '-')} {value}; allowed: 1 to {LARGEST} {unit}")
    owner = participant_of(options, ledger_on(settings.network, options.deployment))
    options.store = settings.store
    store = store_of(options)

    from fbfl import simulation
    from fbfl.mec import tasks

    servers = owner.ledger.servers()
    app = tasks.app_of(settings)
    if app is not None:
        settings = tasks.with_rule_of(settings, app)
    simulation.check(settings, registered=len(servers))
    dataset = tasks.dataset_of(settings)
    for text in filter(None, (dataset.note, *dataset.warnings, tasks.note_on_drawing(settings, app))):
        print(text, file=sys.stderr)
    trainer = app or tasks.trainer_of(settings, dataset, lanes=1)
    plan = tasks.plan_of(settings, trainer, dataset, servers, options.retention)
    drawn = tasks.number_drawn(settings)
    least, most = tasks.least_updates(plan.rule, settings.servers), drawn - tasks.tolerated(drawn)
    if settings.servers > 1 and least > most:
        raise InvalidInputError(
            f"aggregator {settings.aggregator} needs {least} updates; allowed with {drawn} servers"
            f"{tasks.on_drawing(settings)}, some of which may be absent: rules that need at most {most}"
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
    from eth_utils.address import is_address, to_checksum_address

    for server in options.servers:
        if not is_address(server):
            raise InvalidInputError(f"{server!r} is not an address; allowed: 20 bytes as hex")
    owner = participant_of(options, ledger_on(options.network, options.deployment))
    for server in map(to_checksum_address, options.servers):
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

    def say(number: int, is_final: bool) -> None:
        print(f"task {task.id}: round {number} is {'final' if is_final else 'aborted'}", flush=True)

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


def _owner_and_task(options: argparse.Namespace) -> "tuple[Participant, Task]":
    """Return the account that the options name, and the task."""
    owner = participant_of(options, ledger_on(options.network, options.deployment, options.task))
    return owner, task_on(owner.ledger, options.task)
