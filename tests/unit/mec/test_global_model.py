"""From one global model to the next: exactly the aggregate, and nothing that is no update gets in."""

import json
import math
import re
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from eth_hash.auto import keccak

from fbfl.chain.digests import draw_seed
from fbfl.chain.rounds import Update
from fbfl.chain.task import Task
from fbfl.errors import AggregationError, InvalidInputError, PayloadRefusedError
from fbfl.learning.aggregation import RULES, Aggregate, fedavg, fltrust, resolve
from fbfl.learning.sampling import draw
from fbfl.mec.global_model import initial_model, next_model, weights_of
from fbfl.mec.plan import TaskPlan, canonical_json
from fbfl.randomness import seed_sequence
from fbfl.storage.codecs import decode_update, encode_update
from fbfl.storage.payload import decode, encode
from fbfl.storage.store import Reference
from fbfl.tensors import ModelSpec, TensorSpec
from tests.support.servers import SPEC, definition


def task(rule: str = "fedavg", **params: Any) -> Task:
    return Task(1, "0x", "pow", "0x", rule, canonical_json(params), definition(), Reference(b"", 0), 0)


def with_definition(**changes: Any) -> Task:
    return replace(task(), definition={**task().definition, **changes})


def plan(rule: str = "fedavg", **params: Any) -> TaskPlan:
    return TaskPlan.of(task(rule, **params))


def published(*vectors: np.ndarray, samples: tuple[int, ...] = (1, 2, 3, 4)) -> list[tuple[Update, bytes]]:
    payloads = [encode(SPEC, vector) for vector in vectors]
    return [
        (Update(f"0x{seat}", seat, Reference.to(payload), samples[seat], 0, "0x"), payload)
        for seat, payload in enumerate(payloads)
    ]


RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(4, SPEC.size)).astype(np.float32)
PARENT = RNG.normal(size=SPEC.size).astype(np.float32)


def test_the_definition_says_all_that_the_plan_holds() -> None:
    assert plan().definition() == canonical_json(task().definition)


def test_the_definition_of_a_float32_task_does_not_name_the_codec() -> None:
    expected = (
        b'{"input_shape":[3],"max_members":4,"model":"mlp","num_classes":2,"seed":1,'
        b'"tensors":[["dense/kernel",[3,2]],["dense/bias",[2]]],"training":{}}'
    )
    assert plan().payload == "float32"
    assert plan().definition() == expected


def test_the_definition_names_the_range_of_samples_that_are_no_pictures() -> None:
    wide = replace(plan(), sample_range=(-2.5, 7.0))
    assert b'"sample_range":[-2.5,7.0]' in wide.definition()
    published_task = replace(task(), definition=json.loads(wide.definition()))
    assert TaskPlan.of(published_task).sample_range == (-2.5, 7.0)
    assert plan().sample_range == (0, 1)
    for wrong in ([1], [2, 1], ["a", 1], 3, [0, math.inf], [0, 10**400], [math.nan, 1]):
        with pytest.raises(InvalidInputError):
            TaskPlan.of(with_definition(sample_range=wrong))


@pytest.mark.parametrize("codec", ["float16", "int8"])
def test_what_is_aggregated_is_what_the_published_bytes_decode_to(codec: str) -> None:
    small = replace(plan(), payload=codec)
    published_task = replace(task(), definition=json.loads(small.definition()))
    assert TaskPlan.of(published_task).payload == codec
    payloads = [encode_update(codec, SPEC, vector) for vector in VECTORS]
    updates = [(update, payload) for (update, _), payload in zip(published(*VECTORS), payloads, strict=True)]
    model = next_model(small, 1, initial_model(small, PARENT).payload, updates)
    decoded = np.stack([decode_update(codec, SPEC, payload) for payload in payloads])
    expected = PARENT + fedavg(decoded, [1, 2, 3, 4])
    assert model.payload == encode(SPEC, expected)
    assert max(len(payload) for payload in [*payloads, model.payload]) <= small.max_payload
    with pytest.raises(AggregationError, match="no update"):
        next_model(small, 1, initial_model(small, PARENT).payload, published(*VECTORS))


def test_a_task_with_an_unknown_codec_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="payload is 'int4'"):
        TaskPlan.of(replace(task(), definition={**task().definition, "payload": "int4"}))


def test_the_new_model_is_the_old_one_plus_the_aggregate() -> None:
    parent = initial_model(plan(), PARENT)
    model = next_model(plan(), 1, parent.payload, published(*VECTORS))
    expected = PARENT + fedavg(VECTORS, [1, 2, 3, 4])
    assert weights_of(plan(), model.payload).tobytes() == expected.tobytes()
    assert model.reference == Reference.to(model.payload)
    assert parent.reference == Reference.to(parent.payload)
    assert parent.refused == model.refused == {}


def test_a_rule_is_told_all_that_it_may_draw_or_weigh_by() -> None:
    told: list[Any] = []

    class Told:
        stateful = draws = True
        kept_vectors = 1

        def __call__(self, rows: npt.NDArray[Any], samples: list[int], **context: Any) -> Aggregate:
            told.append((rows.tolist(), samples, context))
            return Aggregate(rows[0], {"kept": np.zeros(1)})

    rule: Any = Told()
    telling = replace(plan("fltrust", root_server=TRUSTED), rule=rule)
    updates = of_trusted(published(*VECTORS), 2)
    parent = encode(SPEC, PARENT, {"before": np.ones(1)})
    model = next_model(telling, 7, parent, updates, seed=5)
    ((rows, samples, context),) = told
    assert rows == VECTORS[[0, 1, 3]].tolist()
    assert samples == [1, 2, 4]
    assert context.pop("root_update").tolist() == VECTORS[2].tolist()
    assert {name: state.tolist() for name, state in context.pop("state").items()} == {"before": [1.0]}
    assert (context["clients"], context["seed"], context["round_number"]) == ([0, 1, 3], 5, 7)
    assert decode(SPEC, model.payload, 500)[1].keys() == {"kept"}
    Told.draws = False
    next_model(telling, 7, parent, updates)
    assert told[1][2]["seed"] == 0


def test_what_is_no_update_of_the_task_is_left_out() -> None:
    updates = published(*VECTORS)
    broken = [(updates[1][0], updates[1][1][:-1]), (updates[2][0], b"junk")]
    model = next_model(plan(), 1, initial_model(plan(), PARENT).payload, [updates[0], *broken, updates[3]])
    expected = PARENT + fedavg(VECTORS[[0, 3]], [1, 4])
    assert weights_of(plan(), model.payload).tobytes() == expected.tobytes()
    assert model.refused == {seat: said_of(payload) for seat, payload in (("0x1", broken[0][1]), ("0x2", b"junk"))}
    with pytest.raises(AggregationError, match=r"^round 1 has no update that could be aggregated$"):
        next_model(plan(), 1, initial_model(plan(), PARENT).payload, broken)


def said_of(payload: bytes) -> str:
    with pytest.raises(PayloadRefusedError) as caught:
        decode_update("float32", SPEC, payload)
    return str(caught.value)


def test_state_travels_in_the_payload() -> None:
    clipping = plan("centered_clipping")
    first = next_model(clipping, 1, initial_model(clipping, PARENT).payload, published(*VECTORS))
    second = next_model(clipping, 2, first.payload, published(*VECTORS))
    forgetful = next_model(clipping, 2, encode(SPEC, weights_of(clipping, first.payload)), published(*VECTORS))
    assert second.reference != forgetful.reference
    assert first.reference.size <= clipping.max_payload


@pytest.mark.parametrize("n", [4, 7, 10, 30])
def test_the_largest_sample_count_owns_no_geometric_median(n: int) -> None:
    """One of n claims all samples that there are, as many as all others together."""
    honest = RNG.normal(0.02, 0.01, size=(n - 1, SPEC.size)).astype(np.float32)
    vectors, samples = [np.full(SPEC.size, 1000, np.float32), *honest], (60_000, *[60_000 // n] * (n - 1))
    models = {}
    for weighted in (False, True):
        rule = plan("geometric_median", weighted=weighted)
        parent = initial_model(rule, np.zeros(SPEC.size, np.float32)).payload
        models[weighted] = weights_of(rule, next_model(rule, 1, parent, published(*vectors, samples=samples)).payload)
    assert np.abs(models[False] - honest.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(models[True], 1000, rtol=1e-3)


def test_the_largest_sample_count_moves_norm_clipping_as_far_as_any_other() -> None:
    n = 10
    vectors, samples = (
        [np.full(SPEC.size, -1, np.float32), *np.ones((n - 1, SPEC.size), np.float32)],
        (60_000, *[6_000] * 9),
    )
    rule = plan("norm_clipping", max_norm=100.0)
    parent = initial_model(rule, np.zeros(SPEC.size, np.float32)).payload
    model = weights_of(rule, next_model(rule, 1, parent, published(*vectors, samples=samples)).payload)
    np.testing.assert_allclose(model, 0.8)


DRAWING = {"dnc": {"num_byzantine": 1, "coordinates": 3}, "signguard": {}, "random_selection": {}, "flame": {}}


def model_of(rule: TaskPlan, seed: int | None, round_number: int = 1) -> bytes:
    parent = initial_model(rule, PARENT).payload
    return next_model(rule, round_number, parent, published(*VECTORS), seed).payload


@pytest.mark.parametrize("name", DRAWING)
def test_a_rule_draws_from_what_nobody_knew_before_the_updates_and_not_from_the_task(name: str) -> None:
    rules = [replace(plan(name, **DRAWING[name]), seed=seed) for seed in (0, 1, 99)]
    drawn = {seed: model_of(rules[0], seed) for seed in range(20)}
    assert len({*drawn.values()}) > 1
    assert all(model_of(rule, seed) == model for rule in rules for seed, model in drawn.items())
    with pytest.raises(InvalidInputError, match=f"seed is None, and {name} draws at random"):
        model_of(rules[0], None)


def test_a_users_rule_that_names_seed_draws_alike() -> None:
    def lucky(updates: npt.NDArray[Any], seed: int) -> Any:
        return updates[seed % len(updates)]

    vars(lucky).update(canonical=True)
    own = replace(plan(), rule=resolve(lucky))
    assert weights_of(own, model_of(own, 6)).tobytes() == (PARENT + VECTORS[2]).tobytes()


def test_who_knows_the_task_does_not_know_at_which_coordinates_dnc_will_look() -> None:
    """An attack that hides outside the drawn coordinates gets in; so nobody may know the draw beforehand."""
    wide, n, shown = ModelSpec((TensorSpec("kernel", (201, 100)),)), 10, 10_000
    rule = replace(plan("dnc", num_byzantine=3), spec=wide)
    parent = initial_model(rule, np.zeros(wide.size, np.float32)).payload
    honest = np.random.default_rng(1).normal(0.02, 0.01, size=(n - 1, wide.size)).astype(np.float32)

    def lie(guessed: int) -> tuple[bytes, np.ndarray]:
        (sequence,) = seed_sequence(guessed, "dnc", round_number=3).spawn(1)
        hidden = np.setdiff1d(np.arange(wide.size), draw(wide.size, shown, sequence))
        evil = honest.mean(axis=0)
        evil[hidden] = 1e6
        return encode(wide, evil), hidden

    def model(evil: bytes, seed: int) -> np.ndarray:
        payloads = [evil, *(encode(wide, vector) for vector in honest)]
        updates = [(Update(f"0x{i}", i, Reference.to(p), 1, 0, "0x"), p) for i, p in enumerate(payloads)]
        return weights_of(rule, next_model(rule, 3, parent, updates, seed).payload)

    drawn = draw_seed(b"\1" * 32, b"\2" * 32, 3)
    foreseen, hidden = lie(drawn)
    assert model(foreseen, drawn)[hidden].min() > 1e5
    for public in (0, 1, 3, rule.seed, draw_seed(b"\0" * 32, b"\2" * 32, 3)):
        assert np.abs(model(lie(public)[0], drawn)).max() < 1


def test_a_draw_is_the_hash_of_the_closing_block_the_updates_and_the_round() -> None:
    closing, accumulator = bytes(range(32)), bytes(range(32, 64))
    whole = int.from_bytes(keccak(closing + accumulator + (7).to_bytes(32, "big")), "big")
    assert draw_seed(closing, accumulator, 7) == whole >> (256 - 63)
    others = [(accumulator, closing, 7), (closing, closing, 7), (closing, accumulator, 8)]
    assert len({draw_seed(closing, accumulator, 7), *(draw_seed(*other) for other in others)}) == 4


def test_tasks_of_the_first_release_draw_and_count_as_they_did() -> None:
    """So that the audit of their runs finds what was recorded."""
    old = TaskPlan.of(replace(task("random_selection"), format=1))
    assert old.seed_of_draws(b"\1" * 32, b"\2" * 32, 1) == old.seed == 1
    assert TaskPlan.of(replace(task("random_selection", seed=3), format=1)).rule.plugin.settings == {"seed": 3}
    assert TaskPlan.of(replace(task("geometric_median"), format=1)).rule.counts_samples
    assert not TaskPlan.of(task("geometric_median")).rule.counts_samples
    assert TaskPlan.of(replace(task("median"), format=1)).rule.plugin.settings == {}


def test_tasks_of_the_first_release_trust_a_seat() -> None:
    old = TaskPlan.of(replace(task("fltrust", root_server=2), format=1))
    model = next_model(old, 1, initial_model(old, PARENT).payload, published(*VECTORS))
    assert weights_of(old, model.payload).tobytes() == (PARENT + fltrust(VECTORS[[0, 1, 3]], VECTORS[2])).tobytes()


def test_state_comes_back_with_the_types_that_a_rule_has_given_it() -> None:
    def counting(updates: npt.NDArray[Any], state: dict[str, npt.NDArray[Any]]) -> Aggregate:
        came.append({name: (array.dtype, array.tolist()) for name, array in state.items()})
        given: Any = {"n": 2**53 - 1, "exact": np.array([0.1]), "short": np.array([0.1], np.float32)}
        return Aggregate(updates[0], given)

    came: list[Any] = []
    own = replace(plan(), rule=resolve(counting))
    first = next_model(own, 1, initial_model(own, PARENT).payload, published(*VECTORS))
    next_model(own, 2, first.payload, published(*VECTORS))
    assert came == [
        {},
        {"n": (np.int64, 2**53 - 1), "exact": (np.float64, [0.1]), "short": (np.float32, [float(np.float32(0.1))])},
    ]


TRUSTED = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"


def of_trusted(updates: list[tuple[Update, bytes]], place: int) -> list[tuple[Update, bytes]]:
    """The same updates, of which this one is by the trusted server."""
    ours = replace(updates[place][0], server=TRUSTED), updates[place][1]
    return [*updates[:place], ours, *updates[place + 1 :]]


def test_the_trusted_update_is_what_the_others_are_compared_with_and_is_not_averaged() -> None:
    trusting = plan("fltrust", root_server=TRUSTED)
    parent = initial_model(trusting, PARENT)
    updates = of_trusted(published(*VECTORS), 2)
    model = next_model(trusting, 1, parent.payload, updates)
    expected = PARENT + fltrust(VECTORS[[0, 1, 3]], VECTORS[2])
    assert weights_of(trusting, model.payload).tobytes() == expected.tobytes()
    with pytest.raises(AggregationError, match=f"round 1 has no update of the trusted server {TRUSTED}"):
        next_model(trusting, 1, parent.payload, [updates[0], updates[1], updates[3]])
    with pytest.raises(AggregationError, match="no update that could"):
        next_model(trusting, 1, parent.payload, [updates[2]])


def test_whoever_gets_the_seat_of_the_trusted_server_is_not_trusted() -> None:
    """Seats go to whoever comes next; the task names an address."""
    trusting = plan("fltrust", root_server=TRUSTED)
    parent = initial_model(trusting, PARENT)
    before = next_model(trusting, 1, parent.payload, of_trusted(published(*VECTORS), 2))
    with pytest.raises(AggregationError, match="no update of the trusted server"):
        next_model(trusting, 1, parent.payload, published(*VECTORS))  # 0x2 has seat 2 now
    elsewhere = [VECTORS[2], VECTORS[0], VECTORS[1], VECTORS[3]]
    assert next_model(trusting, 1, parent.payload, of_trusted(published(*elsewhere), 0)).payload == before.payload


def test_a_full_committee_leaves_room_for_the_state_of_a_rule() -> None:
    """FoolsGold keeps a row per seat: the task has as many seats as there is room for; two more would be too many."""
    judging = plan("foolsgold")
    wide = replace(judging, spec=ModelSpec((TensorSpec("dense/kernel", (10_000, 10)),)))
    vectors = [RNG.normal(size=wide.spec.size).astype(np.float32) for _ in range(6)]
    payloads = [encode(wide.spec, vector) for vector in vectors]
    updates = [(Update(f"0x{s}", s, Reference.to(p), 1, 0, "0x"), p) for s, p in enumerate(payloads)]
    parent = initial_model(wide, np.zeros(wide.spec.size, np.float32))
    assert wide.most_members == 4
    model = next_model(wide, 1, parent.payload, updates[:4])
    assert len(model.payload) <= wide.max_payload
    with pytest.raises(AggregationError, match=f"and its state take .* bytes; allowed: {wide.max_payload}"):
        next_model(wide, 1, parent.payload, updates)
    assert plan("fedavg").most_members == 240


def test_a_rule_with_a_history_has_room_for_all_of_it_with_a_full_committee() -> None:
    """FLDetector keeps an update per seat, and the last window + 1 aggregates."""
    remembering = plan("fldetector", window=3)
    assert remembering.state_limit - plan("foolsgold").state_limit == 3 * 4 * SPEC.size
    wide = replace(remembering, spec=ModelSpec((TensorSpec("dense/kernel", (10_000, 10)),)))
    payload = initial_model(wide, np.zeros(wide.spec.size, np.float32)).payload
    for number in range(1, 7):
        updates = []
        for seat in range(wide.most_members):
            update = encode(wide.spec, RNG.normal(size=wide.spec.size).astype(np.float32))
            updates.append((Update(f"0x{seat}", seat, Reference.to(update), 1, 0, "0x"), update))
        payload = next_model(wide, number, payload, updates).payload
    assert wide.max_payload - 4 * wide.spec.size < len(payload) <= wide.max_payload


LARGEST = np.finfo(np.float32).max
SETTINGS: dict[str, dict[str, object]] = {
    "bulyan": {"num_byzantine": 0},
    "dnc": {"num_byzantine": 1},
    "fldetector": {"window": 2},
    "fltrust": {"root_server": TRUSTED},
    "krum": {"num_byzantine": 1},
    "multi_krum": {"num_byzantine": 1, "num_selected": 2},
    "norm_clipping": {"max_norm": 1.0},
    "trimmed_mean": {"trim": 1},
}


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, -1)], ids=["up", "both", "down"])
@pytest.mark.parametrize("name", list(RULES))
def test_no_liar_ends_every_round_without_a_model(name: str, signs: tuple[int, int]) -> None:
    """A rule that averages liars in is led away by them; no rule is stopped by them."""
    liable = plan(name, **SETTINGS.get(name, {}))
    payload, left_out = initial_model(liable, PARENT).payload, 0
    for number in range(1, 9):
        lie = np.full(SPEC.size, signs[number % 2] * LARGEST, np.float32)
        updates = of_trusted(published(*VECTORS / 10, lie, samples=(1, 2, 3, 4, 5)), 0)
        model = next_model(liable, number, payload, updates, seed=number)
        payload, left_out = model.payload, left_out + len(model.refused)
    if name == "fedavg" and signs[0] == signs[1]:
        assert left_out == 7  # all after the first, which has led the model to a third of what float32 holds


def test_an_update_that_leads_out_of_float32_is_none() -> None:
    parent = initial_model(plan(), np.full(SPEC.size, 3e38, np.float32))
    updates = published(VECTORS[0], np.full(SPEC.size, 1e38, np.float32))
    model = next_model(plan(), 1, parent.payload, updates)
    assert model.refused == {"0x1": "payload refused: the global model plus this update is not finite"}
    assert model.payload == next_model(plan(), 1, parent.payload, updates[:1]).payload


def test_a_model_that_is_not_finite_is_none() -> None:
    doubling = replace(plan(), rule=resolve(lambda updates: 2 * updates[0]))
    parent = initial_model(doubling, np.zeros(SPEC.size, np.float32))
    step = np.full(SPEC.size, 1e38, np.float32)
    model = next_model(doubling, 1, parent.payload, published(step))
    with pytest.raises(AggregationError, match=r"^the global model of round 2 would not be finite$"):
        next_model(doubling, 2, model.payload, published(step))


UNSURE = ("machine_dependent", "silent")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (task("nonsense"), "nonsense"),
        (task("krum"), "num_byzantine"),
        (task("fltrust"), "root_server is None; allowed: the number"),
        (task("fltrust", root_server=True), "root_server is True; allowed: the number"),
        (task("fltrust", root_server=2), "root_server is 2; allowed in a task: the address"),
        (task("fltrust", root_server=TRUSTED.lower()), "root_server is '0x7e5f.*; allowed in a task: the address"),
        (task("median", root_server=0), "root_server"),
        (
            task("dnc", num_byzantine=1, seed=3),
            "aggregator 'dnc': seed follows from the round; allowed: other settings",
        ),
        (task("random_selection", seed=3), "seed follows from the round"),
        *((task(f"{__name__}:{name}"), rf"same bytes .*{name}.canonical = True .*Federation") for name in UNSURE),
    ],
)
def test_rules_that_servers_could_not_vote_on_are_refused(broken: Task, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        TaskPlan.of(broken, {f"{__name__}:{name}" for name in UNSURE})


@pytest.mark.parametrize("allowed", [(), ("this",), ("this:d",), ("pickle:loads",)])
@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        (task("this:s"), "the aggregator of task 1 is 'this:s'; allowed: fedavg, "),
        (with_definition(model="this:s"), "the model of task 1 is 'this:s'; allowed: mlp, 2nn, cnn, and "),
        (with_definition(trainer="this:s"), "the trainer of task 1 is 'this:s'; allowed: keras, "),
        (with_definition(trainer_args={"loss": "this:s"}), "the trainer's loss of task 1 is 'this:s'; allowed: "),
        (with_definition(training={"optimizer": "this:s"}), "the trainer's optimizer of task 1 is 'this:s'; allowed: "),
        (with_definition(training={"loss": "this:s"}), "the trainer's loss of task 1 is 'this:s'; allowed: "),
    ],
)
def test_code_that_a_task_names_is_refused_before_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, foreign: Task, said: str, allowed: tuple[str, ...]
) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with pytest.raises(InvalidInputError, match=said) as caught:
        TaskPlan.of(foreign, allowed)
    assert str(caught.value).endswith("package.module:function that --plugin names")
    assert "this" not in sys.modules


def test_a_task_of_numbers_names_its_loss_and_the_range_of_its_labels() -> None:
    numbers = replace(plan(), num_classes=0, training={"loss": "mean_squared_error"}, label_range=(-2.5, 7.0))
    published_task = replace(task(), definition=json.loads(numbers.definition()))
    assert TaskPlan.of(published_task) == numbers
    assert (numbers.purpose.num_outputs, numbers.purpose.num_classes) == (1, 0)
    assert not {b"loss", b"label_range"} & {*re.findall(rb"\w+", plan().definition())}


def test_the_app_that_a_task_names_is_refused() -> None:
    named = with_definition(trainer="flower", trainer_args={"app": "/home/somebody/app", "config": "lr=9"})
    with pytest.raises(InvalidInputError, match="the Flower app of task 1 is '/home/somebody/app'; allowed: none"):
        TaskPlan.of(named)
    own = TaskPlan.of(named, own={"trainer_args": {"app": "mine"}})
    assert own.trainer_args == {"app": "mine"}


def test_what_the_operator_trains_with_takes_the_place_of_what_the_task_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    foreign = with_definition(
        model="this:s", trainer="this:s", trainer_args={"loss": "this:s"}, training={"loss": "this:s", "proximal": 1.0}
    )
    own = {"model": "some.models:small", "trainer": "some.trainers:mine", "trainer_args": {"rate": 0.1}}
    plan = TaskPlan.of(foreign, own={**own, "loss": "some.losses:mine"})
    assert {name: getattr(plan, name) for name in own} == own
    assert plan.training == {"loss": "some.losses:mine", "proximal": 1.0}
    with pytest.raises(InvalidInputError, match="the model of task 1 is 'this:s'"):
        TaskPlan.of(foreign, own={"trainer": "keras", "trainer_args": {}})
    assert "this" not in sys.modules


def test_keras_is_not_named_in_a_definition() -> None:
    plan = TaskPlan.of(task())
    assert "trainer" not in json.loads(plan.definition())
    other = replace(plan, trainer="torch", trainer_args={"loss": "mse_loss"})
    assert json.loads(other.definition())["trainer"] == "torch"
    assert TaskPlan.of(replace(task(), definition=json.loads(other.definition())), own={"trainer": "torch"}) == other


def test_code_that_the_operator_allows_is_taken() -> None:
    name = f"{__name__}:last"
    assert TaskPlan.of(task(name), {name}).rule([[1.0], [3.0]]).vector == [3.0]
    assert TaskPlan.of(with_definition(model="some.models:small"), {"some.models:small"}).model == "some.models:small"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (with_definition(model=7), "the model of task 1 is 7; allowed: mlp"),
        (with_definition(model=["this:s"]), "the model of task 1 is .'this:s'.; allowed: mlp"),
        (replace(task(), definition={}), "not one of fbfl"),
        *(
            (with_definition(tensors=[["a", shape]]), "tensor 'a' has the shape .*; allowed: at most 32 whole numbers")
            for shape in ([-1], [0], [2.5], [True], [10**400], [1] * 33)
        ),
        (with_definition(tensors=[["a", [2**30]], ["b", [1]]]), "the model has 1073741825 parameters; allowed"),
        *(
            (with_definition(tensors=[[name, [1]]]), "the name of a tensor is .*; allowed: printable text")
            for name in (1, ["a"], "\ud800", "\x1b[2J")
        ),
        (with_definition(input_shape=["a"]), "input_shape has the shape"),
        *((with_definition(max_members=most), f"max_members is {most}; allowed: 1 to 240") for most in (0, 241)),
        *((with_definition(seed=seed), "seed is .*; allowed: a whole number") for seed in ("a", 2**64)),
        (with_definition(training=5), "training is 5; allowed: a table of settings"),
        (with_definition(training={"loss": "hinge"}), "loss is 'hinge'; allowed: cross_entropy, "),
        (with_definition(num_classes=0), "num_classes is 0; allowed with loss cross_entropy: 1 or more"),
        (
            with_definition(training={"loss": "mean_squared_error"}, num_classes=0, label_range=[2, 1]),
            "label_range is 2.0 to 1.0; allowed: finite numbers, the least first",
        ),
        (
            replace(task(), rule_params=b"[1]"),
            r"aggregator 'fedavg': the text of its settings is b'\[1\]'; allowed: a JSON object",
        ),
        (replace(task(), rule_params=b"{"), "aggregator 'fedavg': the text of its settings cannot be read"),
        (
            replace(task(), rule_params=b"[" * 10**6),
            "aggregator 'fedavg': the text of its settings cannot be read .more than 100 lists",
        ),
        (replace(task(), rule_params=b"\xff"), "aggregator 'fedavg': the text of its settings cannot be read"),
    ],
)
def test_a_definition_that_makes_no_sense_is_one_line(broken: Task, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        TaskPlan.of(broken)
    assert "\n" not in str(caught.value)


def last(updates: npt.NDArray[Any]) -> Any:
    """A user's rule."""
    return updates[-1]


last.canonical = True  # type: ignore[attr-defined]


def silent(updates: Any) -> Any:
    """A rule of whose bytes its author says nothing."""
    return updates.mean(axis=0)


def machine_dependent(updates: Any) -> Any:
    """A rule whose author does not promise the same bytes everywhere."""
    return updates.mean(axis=0)


machine_dependent.canonical = False  # type: ignore[attr-defined]
