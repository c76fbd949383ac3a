"""The owner's side of a task: creating it from the settings of a run, paying for it, and driving its rounds."""

import functools
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from web3.exceptions import Web3Exception

from fbfl.chain.elections import seed_waits
from fbfl.chain.participant import (
    CommitteeRules,
    Participant,
    TaskSettings,
    ethash_parameters,
    pbft_parameters,
    pow_parameters,
)
from fbfl.chain.rounds import Phase, TaskState
from fbfl.errors import AggregationError, ContractRevertError, NodeUnavailableError
from fbfl.learning import datasets, sampling
from fbfl.learning.aggregation import AggregationRule
from fbfl.learning.datasets import Dataset
from fbfl.learning.flower.app import read as read_app
from fbfl.learning.flower.trainer import FlowerTrainer, standing_for
from fbfl.learning.samples import PICTURES, range_of, type_of
from fbfl.learning.trainer import Trainer, make
from fbfl.learning.training import Purpose, TrainingSettings
from fbfl.mec.global_model import initial_model
from fbfl.mec.plan import ROOT, TaskPlan, canonical_json, resolve_rule, resolve_server_optimizer, untrained_of
from fbfl.randomness import generator
from fbfl.settings import APPS_RULE, LARGEST, RunSettings
from fbfl.storage.store import Store
from fbfl.system.backoff import Reluctance, pause_after
from fbfl.values.parts import WHOLE

log = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Most seconds between two attempts to reach a node."""

_LONGEST_RELUCTANCE = 300.0  # seconds between calls that a clock which is ahead has the contracts refuse

_CONFIRMATIONS = 3  # blocks on an electing block before its miner may propose
_SPACING = 4  # blocks from one view's electing block to the next one's: beyond its confirmations


def training_of(settings: RunSettings) -> TrainingSettings:
    """Return the settings of the servers' training."""
    return TrainingSettings(**settings.training)


def dataset_of(settings: RunSettings) -> Dataset:
    """Return the data set of these settings; of a Flower app, whose data are its own, samples that stand for them."""
    if settings.app is not None:
        return standing_for(read_app(settings.app), settings.servers)
    name, fallback = settings.dataset or "mnist", settings.dataset is None
    return datasets.load(name, settings.dataset_args, fallback=fallback, num_classes=settings.known_classes)


def purpose_of(settings: RunSettings, dataset: Dataset) -> Purpose:
    """Return what a trainer of these settings is for."""
    shape, sample_type = dataset.input_shape, type_of(dataset.x_train)
    return Purpose(settings.model, training_of(settings), shape, dataset.num_classes, settings.seed, sample_type)


def trainer_of(settings: RunSettings, dataset: Dataset, lanes: int | None = None) -> Trainer:
    """Return a trainer for the model of these settings; imports its framework."""
    arguments = dict(settings.trainer_args)
    if settings.app is not None:
        arguments |= {"app": settings.app, "servers": settings.servers}
    return make(settings.trainer, arguments, purpose_of(settings, dataset), lanes=lanes)


def app_of(settings: RunSettings) -> FlowerTrainer | None:
    """Return the trainer of the Flower app that the settings name, if they do; starts it."""
    if settings.app is None:
        return None
    app = trainer_of(settings, dataset_of(settings))
    assert isinstance(app, FlowerTrainer)  # an app is named for no other
    return app


def with_rule_of(settings: RunSettings, app: FlowerTrainer) -> RunSettings:
    """Return the settings with the rule that the app's strategy is, unless they name another."""
    if settings.aggregator != APPS_RULE:
        return settings
    name, arguments = app.rule
    return settings.replace(aggregator=name, aggregator_args={**arguments, **settings.aggregator_args})


def note_on_drawing(settings: RunSettings, app: FlowerTrainer | None) -> str:
    """Return a line on a strategy that draws other parts of the nodes than the settings do; nothing if none does."""
    if app is None or app.strategy.fraction == settings.participation:
        return ""
    return (
        f"the app's strategy has a part of {app.strategy.fraction:g} of its nodes train in a round; here participation "
        f"says it, {settings.participation:g}"
    )


def plan_of(
    settings: RunSettings,
    trainer: Trainer,
    dataset: Dataset,
    servers: Sequence[str],
    retention: int | None = None,
) -> TaskPlan:
    """Return the plan that the task publishes; `servers` are the servers' addresses by their numbers in the settings.

    `retention` is the number of rounds whose payloads they keep (None: all).
    """
    arguments = dict(settings.aggregator_args)
    if isinstance(root := arguments.get(ROOT), int):
        arguments[ROOT] = servers[root]
    rule_params = canonical_json(arguments)
    server = None
    if settings.server_optimizer is not None:
        server = resolve_server_optimizer(settings.server_optimizer, settings.server_optimizer_args)
    return TaskPlan(
        spec=trainer.spec,
        model=settings.model,
        input_shape=dataset.input_shape,
        num_classes=dataset.num_classes,
        training=settings.training,
        rule=resolve_rule(settings.aggregator, rule_params),
        rule_params=rule_params,
        seed=settings.seed,
        max_members=settings.servers,
        payload=settings.payload,
        signatures=settings.signatures,
        retention=retention,
        sample_range=range_of([dataset.x_train]),
        sample_type=type_of(dataset.x_train),
        label_range=PICTURES if dataset.num_classes else range_of([dataset.y_train]),
        trainer=settings.trainer,
        trainer_args=settings.trainer_args,
        server=server,
        untrained=untrained_of(trainer.spec, trainer.trainable) if server else (),
    )


def committee_rules(settings: RunSettings) -> CommitteeRules:
    """Return the rules for a committee of the settings' servers.

    Each view that fails bars its leader. There is one view more than the faulty leaders that an honest majority
    outvotes (at least 8), so that they cannot use the views up, not even one after the other in PBFT's order.
    """
    return CommitteeRules(
        timeout=settings.view_timeout,
        timeout_cap=min(8 * settings.view_timeout, 2**32 - 1),
        max_views=settings.max_views or max(8, (settings.servers + 1) // 2),
        byzantine_quorum=settings.quorum == "byzantine" or settings.consensus == "pbft",
        rejection_penalty=_basis_points(settings.rejection_penalty),
    )


def most_samples(settings: RunSettings, dataset: Dataset) -> int:
    """Return the most samples that an update may count for if the division is not known: twice an equal share.

    A server that claims more than it has would weigh more in rules weighted by samples, and in the rewards. How many
    samples the nodes of a Flower app have is not known.
    """
    if settings.app is not None:
        return LARGEST
    return max(1, -(-2 * len(dataset.y_train) // settings.servers))


def tolerated(servers: int) -> int:
    """Return how many of `servers` may be absent or lie: f = floor((n-1)/3); of two or three, one may be absent."""
    return max((servers - 1) // 3, min(1, servers - 1))


def number_drawn(settings: RunSettings) -> int:
    """Return the number of servers that are drawn for a round."""
    return len(sampling.participants(settings.servers, settings.participation, settings.seed, 1, settings.draw))


def number_awaited(settings: RunSettings) -> int:
    """Return the number of servers from which the task awaits an update in a round: those it draws, or all."""
    return number_drawn(settings) if settings.draw == "chain" else settings.servers


def on_drawing(settings: RunSettings) -> str:
    """Return what to add to a message on the number of servers that are drawn for a round; nothing if all are."""
    drawn = number_drawn(settings)
    by = f"participation = {settings.participation:g} of {settings.servers}"
    return f" ({by})" if drawn < settings.servers else ""


def fewest_updates(plan: TaskPlan, awaited: int, expected: int) -> int:
    """Return the number of updates below which a round aborts: `expected` less those of the `awaited` that may be
    absent, and at least those that the rule needs.
    """
    return max(least_updates(plan.rule, awaited), expected - tolerated(awaited), 1)


def least_updates(rule: AggregationRule, servers: int) -> int:
    """Return the smallest number of updates that a rule can aggregate; `servers` if it needs them all, or more.

    It is found with made-up updates. A rule that compares with a trusted update needs that one in addition.
    """
    made_up = generator(0, "made-up updates").standard_normal((servers, 8)).astype(np.float32)
    trusted = int(rule.needs_root_update)
    for count in range(1, servers - trusted):
        try:
            rule(made_up[:count], [1] * count, clients=range(count), round_number=1, root_update=made_up[0])
            return count + trusted
        except AggregationError:
            continue
    return servers


def limits(settings: RunSettings, plan: TaskPlan) -> tuple[str, ...]:
    """Return the weaknesses of this number of servers, or of this rule: a line each."""
    servers, awaited = settings.servers, number_awaited(settings)
    texts = []
    if servers == 3:
        texts.append("with 3 servers one absence is tolerated, and one liar is not; from 4 on a liar is, too")
    if servers == 2:
        texts.append("with 2 servers neither an absence nor a liar is tolerated; from 4 on one of them is")
    least = least_updates(plan.rule, awaited)
    if servers > 1 and least > awaited - tolerated(awaited):
        drawn = on_drawing(settings) if awaited < servers else ""
        texts.append(
            f"{settings.aggregator} needs {least} updates of {awaited} servers{drawn}: a round in which "
            f"{tolerated(awaited)} of them is absent aborts"
        )
    return tuple(texts)


def create_task(
    owner: Participant,
    store: Store,
    settings: RunSettings,
    plan: TaskPlan,
    trainer: Trainer,
    dataset: Dataset,
    *,
    window: int = 3600,
    expected: int | None = None,
    max_samples: int | None = None,
    consensus: str | None = None,
) -> int:
    """Publish the initial model and create the task; `window` is the seconds to commit in, and to submit in.

    `expected` is the number of servers with an update in every round (default: those that are drawn), `max_samples` the
    most samples of an update if the settings do not set them (default: `most_samples`), `consensus` the name of a
    consensus that is none of fbfl's three.
    """
    consensus = consensus or settings.consensus
    model = initial_model(plan, trainer.initial_weights())
    store.put(model.payload)
    return owner.create_task(
        TaskSettings(
            consensus=consensus,
            consensus_params=_consensus_parameters(consensus, settings),
            rule=settings.aggregator,
            rule_params=plan.rule_params,
            definition=plan.definition(),
            model=model.reference,
            max_payload=plan.max_payload,
            max_samples=settings.max_samples
            or (most_samples(settings, dataset) if max_samples is None else max(1, max_samples)),
            min_members=settings.servers,
            max_members=plan.most_members,
            min_updates=settings.min_updates
            or fewest_updates(plan, number_awaited(settings), number_drawn(settings) if expected is None else expected),
            max_rounds=0,
            submit_window=window,
            commit_window=window if settings.commit_reveal else 0,
            withheld_penalty=_basis_points(settings.withheld_penalty),
            participation=sampling.in_parts(settings.participation) if settings.draw == "chain" else WHOLE,
            seed=settings.seed,
        )
    )


def promise_rewards(owner: Participant, task: int, settings: RunSettings) -> None:
    """Set the terms of rewards, and pay in for the settings' number of rounds."""
    if settings.reward:
        owner.set_reward_terms(task, settings.reward, _basis_points(settings.leader_share), by_samples=True)
        owner.fund_rewards(task, settings.reward * settings.rounds)


def drive(
    owner: Participant,
    task: int,
    *,
    rounds: int,
    servers: int = 1,
    poll: float = 0.5,
    pause: float = 1.0,
    over: Callable[[int, bool], None] | None = None,
) -> None:
    """Open rounds, and move on those that are due, until round number `rounds` is over: members may open rounds, too.

    A task that has ended by then raises `ContractRevertError`. The first round opened here waits for `servers` members.
    Members that the registry expelled lose seat and vote at once, those that retired lose their seats before the next
    round. `poll` and `pause` are seconds between two looks at the chain and between two rounds. `over` is called with
    the number of every round that ends while this runs, and True if it is final. There is no other state:
    called again, it goes on where the chain is. A node that fails is asked again, after longer and longer pauses.
    """
    ledger = owner.ledger
    known: int | None = None  # number of rounds that are over, as `over` has been told
    failed = 0
    reluctance = Reluctance(poll, _LONGEST_RELUCTANCE)
    while True:
        try:
            state = ledger.state(task)
            ended = state.round if state.phase.is_over else state.round - 1
            known = ended if known is None else known
            has_ended = known < ended
            while known < ended:
                if over:
                    over(known + 1, any(ledger.outcome(task, known + 1)))
                known += 1
            if ended >= rounds:
                return
            if has_ended:
                time.sleep(pause)
            if state.phase.is_over:
                if _seated(owner, task, state.round + 1) >= servers:
                    with owner.asking_first():  # what is refused now is refused again and again
                        opened = _try(owner.open_round, task)
                    if opened:
                        servers = 1  # later rounds do not wait for members
                        continue
            else:
                _evict_expelled(owner, task, state.round)
                due = is_due(state, time.time()) or seed_waits(ledger, task, state)
                situation = state.round, state.phase, state.decision.view
                if due and not reluctance.holds_back(situation) and not _try(owner.poke, task):
                    reluctance.note_refusal()
        except (NodeUnavailableError, Web3Exception) as error:
            failed += 1
            wait = pause_after(failed, first=2 * poll, longest=LONGEST_PAUSE)
            log.error("task %d: tried again in %g s: %s", task, wait, error)
            time.sleep(wait)
            continue
        failed = 0
        time.sleep(poll)


def _evict_expelled(owner: Participant, task: int, round_number: int) -> None:
    """Take the votes of members that were expelled in the open round."""
    ledger = owner.ledger
    expelled = {event.args["server"] for event in ledger.events("ServerSlashed") if event.args["expelled"]}
    for server in expelled & set(ledger.seats(task, round_number + 1)):
        if not ledger.is_active(server):
            _try(functools.partial(owner.evict, server=server), task)


def _seated(owner: Participant, task: int, round_number: int) -> int:
    """Return the number of members of a round that is not open yet, without those that lose their seats."""
    ledger = owner.ledger
    members = list(ledger.seats(task, round_number))
    for server in members:
        if not ledger.is_active(server):
            _try(functools.partial(owner.evict, server=server), task)
    return len(ledger.seats(task, round_number))


def is_due(state: TaskState, clock: float) -> bool:
    """Return True if a round's phase is complete, or past its deadline, so that a transaction would move it on.

    `clock` is the time (s) here: the newest block may be old if nothing happens. A wrong clock costs refused calls,
    which come more and more rarely.
    """
    now = max(float(state.now), clock)
    if state.phase is Phase.DECIDE:
        return now > state.decision.deadline
    return state.is_complete or now > state.deadline


def _try(action: Callable[[int], object], task: int) -> bool:
    """Return False if the contracts refuse it: another sender was faster, or the clock here is ahead."""
    try:
        action(task)
    except ContractRevertError as error:
        if error.error == "TasksEnded":
            raise
        log.info("task %d: %s", task, error)
        return False
    return True


def _consensus_parameters(consensus: str, settings: RunSettings) -> bytes:
    rules = committee_rules(settings)
    if consensus == "pow":
        target = min(2**256 // settings.pow_hashes, 2**256 - 1)
        return pow_parameters(rules, target, settings.solve_time)
    if consensus == "ethash":
        return ethash_parameters(rules, confirmations=_CONFIRMATIONS, spacing=_SPACING)
    return pbft_parameters(rules)  # a user's consensus takes the same


def _basis_points(part: float) -> int:
    """Return a part, 0 to 1, in 1/10,000, as contracts hold it."""
    return round(part * WHOLE)
