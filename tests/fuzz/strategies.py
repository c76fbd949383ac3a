"""Settings as strangers choose them: mostly such as make sense, with some that do not.

Names come from the project's own tables and settings from the functions' own parameters, so that what is added there is
drawn from then on. What is drawn are recipes, in words that can be read and repeated; `made` and the like in
`tests.fuzz.recipes` make arrays and files of them.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from fbfl.learning import aggregation, attacks, models, partition, server_optimizers
from fbfl.learning.aggregation.rule_function import CONTEXT as RULE_CONTEXT
from fbfl.learning.attacks.lookup import CONTEXT as ATTACK_CONTEXT
from fbfl.learning.losses import NAMES as LOSSES
from fbfl.learning.metrics import METRICS
from fbfl.learning.plugins import KEYWORD
from fbfl.learning.sampling import DRAWS
from fbfl.learning.schedules import SCHEDULES
from fbfl.mec import mobility, radio
from fbfl.runs.measures import CURVES
from fbfl.settings import CONSENSUS, QUORUMS, SETTINGS, default_of
from fbfl.storage.codecs import CODECS
from fbfl.values.fields import Place
from tests.fuzz.recipes import LABELS, SAMPLES, Data, Federated
from tests.fuzz.users import strangers_models, strangers_rules, strangers_world

_WORDS = (
    r"plain Größe a/b [red]x[/red] [/b] $x_y$ $\frac{ <b>&amp; a|b `c` - * %s{0} quote'\" \ 日本 . #1 nan null a,b;c"
)

words = st.sampled_from((*_WORDS.split(), "two words", "", "line\nline", "x" * 120))
"""Free text: what means something to a shell, a path, Rich, mathtext, HTML, Markdown, CSV or TOML."""

file_names = words.filter(lambda word: word not in (".", "") and not {*word} & {*"/\n"})


def rarely(odd: st.SearchStrategy[Any], usual: st.SearchStrategy[Any], *, one_in: int = 12) -> st.SearchStrategy[Any]:
    """Usually this, one time in so many that. (Hypothesis prefers the ends of a range, so it is not one of them.)"""
    return st.integers(0, one_in - 1).flatmap(lambda drawn: odd if drawn == one_in // 2 else usual)


whole = rarely(st.sampled_from((-1, 7, 100, 2**31, 2**63, 2**70)), st.sampled_from((1, 1, 1, 0, 2, 3)), one_in=20)
real = rarely(
    st.sampled_from((0.0, -1.0, 1e-320, 1e30, 1e300, 1e308, float("inf"), float("nan"), 3)),
    st.sampled_from((0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 10.0)),
    one_in=20,
)
texts = st.sampled_from(("trace.csv", "add", "replace", "std", "sign", "unit", "trace.csv", "nothing"))
anything = st.sampled_from((None, True, "a", "", 2, 0.5, (1, 2), [0], {"a": 1}))

_BY_TYPE: Mapping[object, st.SearchStrategy[Any]] = {int: whole, float: real, bool: st.booleans(), str: texts}


def functions_of(kind: str) -> dict[str, Callable[..., Any]]:
    """The functions of a kind in `tests.fuzz.users`, by the names that users give them in settings."""
    return {
        f"{module.__name__.rpartition('.')[2]}:{name}": function
        for module in (strangers_rules, strangers_models, strangers_world)
        for name, function in vars(module).items()
        if name.startswith(f"{kind}_")
    }


def names(kind: str, table: typing.Iterable[str], *, one_in: int = 4) -> st.SearchStrategy[str]:
    """A name of ours, or of a stranger's function, or of nothing."""
    theirs = st.sampled_from(list(functions_of(kind)))
    nothing = st.sampled_from(("nothing", "", "strangers_rules:nothing", "nowhere:rule", ":", "strangers_rules:"))
    return rarely(rarely(nothing, theirs, one_in=8), st.sampled_from(list(table)), one_in=one_in)


@st.composite
def settings_of(draw: st.DrawFn, function: Callable[..., Any], given: Sequence[str]) -> dict[str, Any]:
    """Settings that a function has as parameters, apart from those that are `given` to it; rarely another one."""
    parameters = inspect.signature(function).parameters.values()
    drawn: dict[str, Any] = {}
    for parameter in parameters:
        needed = parameter.default is inspect.Parameter.empty
        if parameter.name in given or parameter.kind not in KEYWORD:
            continue
        if draw(rarely(st.just(not needed), st.just(needed), one_in=30 if needed else 5)):
            usual = _BY_TYPE.get(_plain(parameter.annotation), real)
            drawn[parameter.name] = draw(rarely(anything, usual, one_in=15))
    if draw(rarely(st.just(True), st.just(False), one_in=40)):
        drawn["strange"] = draw(anything)
    return drawn


def _plain(annotation: Any) -> Any:
    """Of `float | None` the float."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next((kind for kind in typing.get_args(annotation) if kind is not type(None)), None)
    return annotation


@st.composite
def named(
    draw: st.DrawFn, kind: str, table: Mapping[str, Callable[..., Any]], given: Sequence[str], *, one_in: int = 4
) -> tuple[str, dict[str, Any]]:
    """A name of a table, or of a stranger's function, with settings."""
    name = draw(names(kind, table, one_in=one_in))
    function = table.get(name) or functions_of(kind).get(name)
    return name, draw(settings_of(function, given)) if function else draw(rarely(st.just({"a": 1}), st.just({})))


rules = named("rule", aggregation.RULES, ("updates", *RULE_CONTEXT))
attack_names = rarely(
    st.sampled_from([("same_value", {"value": value}) for value in (1e30, 3e38)]),  # the loss overflows
    named(
        "attack",
        attacks.ATTACKS,
        ("x", "y", "rng", "honest", "own", "compromised", "everybody", "one", "two", "three", *ATTACK_CONTEXT),
    ),
    one_in=6,
)
partitions = named("partition", partition.PARTITIONS, ("labels", "num_clients", "seed"))
schedules = named("schedule", SCHEDULES, ("round_number", "learning_rate"))
servers = named("server", server_optimizers.SERVER_OPTIMIZERS, ("update", "state"))
mobilities = named("mobility", mobility.MOBILITIES, ("servers",))
radios = named("radio", radio.RADIOS, ())
model_names = names("model", models.NAMES, one_in=2)


# Samples.

classes = rarely(st.integers(1, 5), st.just(3), one_in=5)  # strangers' models have three

counts = rarely(st.sampled_from((0, 1, 33)), st.integers(1, 12))
shapes = rarely(
    st.sampled_from(((1,), (5,), (1, 1), (3, 7), (2, 2, 2, 2), (0, 4), (4, 4, 3), (1, 4, 4))), st.just((4, 4)), one_in=4
)


@st.composite
def data(draw: st.DrawFn, shape: tuple[int, ...], number: int, *, one_in: int = 8, most: int = 1) -> Data:
    """Samples of one client, or the test's: mostly in order."""
    odd = draw(rarely(st.just(True), st.just(False), one_in=one_in))
    return Data(
        draw(counts) * most,
        draw(shapes) if odd else shape,
        number,
        x=draw(st.sampled_from(list(SAMPLES)) if odd else st.sampled_from(("float32", "uint8", "float64", "zeros"))),
        y=draw(st.sampled_from(list(LABELS)) if odd else st.sampled_from(("int64", "uint8", "int32"))),
        seed=draw(st.integers(0, 3)),
    )


# A federation without a chain.

odd_numbers = st.sampled_from((-1, 0, 2.0, 1.5, True, None, "2", float("nan"), float("inf"), 2**70))
odd_shares = st.sampled_from((-0.1, 0.0, 1.1, float("nan"), float("inf"), None, "half", True))


def _optimizer_names() -> st.SearchStrategy[str]:
    from fbfl.learning import optimizers  # imports TensorFlow

    return st.sampled_from((*optimizers._names(), "loss_scale_optimizer"))


optimizer_names = st.deferred(_optimizer_names)


losses = rarely(rarely(words, st.sampled_from(LOSSES)), st.just("cross_entropy"), one_in=8)


@st.composite
def trainings(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what decides on the compiled graph: as arguments of `Federation`."""
    optimizer = rarely(
        st.sampled_from(["nothing", "", None, 3, *functions_of("optimizer").values()]),
        optimizer_names,
        one_in=4,
    )
    rate = rarely(
        st.sampled_from([0.0, -0.1, float("nan"), "0.1", 1e30, *functions_of("rate").values()]),
        st.sampled_from((None, 0.01, 0.1, 1)),
        one_in=6,
    )
    schedule, schedule_settings = draw(rarely(schedules, st.just((None, {})), one_in=4))
    return {
        "model": draw(rarely(st.sampled_from([None, 3, *functions_of("model").values()]), model_names, one_in=3)),
        "local_epochs": draw(rarely(odd_numbers, st.integers(1, 2), one_in=30)),
        "batch_size": draw(rarely(odd_numbers, st.sampled_from((1, 3, 32)), one_in=30)),
        "optimizer": draw(optimizer),
        "learning_rate": draw(rate),
        "proximal": draw(rarely(real, st.just(0.0), one_in=5)),
        "loss": draw(losses),
        "fused": draw(st.booleans()),
        "local_steps": draw(rarely(rarely(odd_numbers, st.just(2), one_in=4), st.none(), one_in=10)),
        "shuffle": draw(rarely(st.just(False), st.just(True), one_in=5)),
        "seed": draw(rarely(odd_numbers, st.integers(0, 2), one_in=30)),
        "schedule": schedule,
        "schedule_args": schedule_settings,
    }


@st.composite
def federation(draw: st.DrawFn, training: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> Federated:
    """The rest: data, rule, attack, and who takes part."""
    number = draw(rarely(st.sampled_from((0, 1, 2, 12)), st.integers(3, 7), one_in=10))
    one_in = 8 * max(1, number)
    rule, rule_settings = draw(rules)
    attack, attack_settings = draw(rarely(attack_names, st.just((None, {})), one_in=2))
    server, server_settings = draw(rarely(servers, st.just((None, {})), one_in=3))
    malicious = st.lists(st.integers(0, max(0, number - 1)), min_size=1, max_size=max(1, number // 2), unique=True)
    odd_malicious = st.sampled_from((["0"], [1.5], [-1], [99], 2, None, "12", [True], {0: 1}, [[0]], [None]))
    arguments = {
        **training,
        "aggregator": draw(rarely(st.sampled_from((None, 3, len)), st.just(rule), one_in=30)),
        "aggregator_args": draw(rarely(anything, st.just(rule_settings), one_in=40)),
        "attack": attack,
        "attack_args": attack_settings,
        "malicious": draw(rarely(odd_malicious, malicious if attack else st.just(()), one_in=30)),
        "participation": draw(rarely(odd_shares, st.sampled_from((0.25, 0.5, 1.0)), one_in=40)),
        "draw": draw(rarely(words, st.sampled_from(DRAWS), one_in=40)),
        "dropout": draw(rarely(odd_shares, st.sampled_from((0.0, 0.0, 0.3, 1.0)), one_in=40)),
        "stragglers": draw(rarely(odd_shares, st.sampled_from((0.0, 0.0, 0.5, 1.0)), one_in=40)),
        "server_optimizer": server,
        "server_args": server_settings,
    }
    return Federated(
        clients=tuple(draw(data(shape, classes, one_in=one_in)) for _ in range(number)),
        test=draw(data(shape, classes, one_in=20)),
        root=draw(data(shape, classes)) if draw(st.booleans()) else None,
        arguments=arguments,
    )


@st.composite
def federations(draw: st.DrawFn) -> list[Federated]:
    """A few with the same model and training, which takes longest to compile."""
    training, shape, number = draw(trainings()), draw(shapes), draw(classes)
    return draw(st.lists(federation(training, shape, number), min_size=1, max_size=12))


# `fbfl run`: a file of samples, and fields of RunSettings.


@st.composite
def files(draw: st.DrawFn) -> tuple[str, Data, Data]:
    """The name of an .npz, and the samples for training and testing in it."""
    shape, number = draw(shapes), draw(classes)
    train = draw(data(shape, number, one_in=6, most=4))
    return draw(file_names) + ".npz", train, draw(data(shape, number, one_in=20))


@st.composite
def tasks(draw: st.DrawFn) -> tuple[tuple[str, Data, Data], list[dict[str, Any]]]:
    """A file, and settings of a few runs on it."""
    file = draw(files())
    return file, draw(st.lists(run_settings(dataset=file[0]), min_size=1, max_size=3))


LEFT_ALONE = frozenset({"network", "store"})
"""Settings that need a program beside fbfl."""


@st.composite
def run_settings(draw: st.DrawFn, *, dataset: str, one_in: int = 120) -> dict[str, Any]:
    """Fields of `RunSettings`, apart from the defaults; each is odd one time in so many."""
    number = draw(st.integers(1, 6))

    def usual(values: st.SearchStrategy[Any]) -> Any:
        return draw(rarely(odd_numbers, values, one_in=one_in))

    drawn: dict[str, Any] = {
        "rounds": usual(st.integers(1, 2)),
        "servers": usual(st.just(number)),
        "devices": usual(st.integers(number, number + 3)),
        "dataset": draw(rarely(rarely(words, st.just("digits"), one_in=3), st.just(dataset), one_in=20)),
        "consensus": draw(rarely(words, st.sampled_from((*("pow", "pbft") * 8, *CONSENSUS)), one_in=60)),
        "nodes": 3,
        "seed": usual(st.integers(0, 2)),
        "local_epochs": usual(st.integers(1, 2)),
        "batch_size": usual(st.sampled_from((1, 5, 32))),
        "optimizer": draw(rarely(rarely(words, optimizer_names), st.sampled_from(("adam", "sgd")), one_in=3)),
        "learning_rate": draw(rarely(real, st.sampled_from((None, 0.01, 0.1)), one_in=8)),
        "proximal": draw(rarely(real, st.just(0.0), one_in=8)),
        "loss": draw(losses),
        "num_classes": usual(st.sampled_from((*(None,) * 9, 0, 1, 2, 30))),
        "app": draw(rarely(words, st.none(), one_in=60)),
        "local_steps": draw(rarely(rarely(odd_numbers, st.just(2), one_in=4), st.none(), one_in=10)),
        "participation": draw(rarely(odd_shares, st.sampled_from((1.0, 1.0, 0.25, 0.5)), one_in=80)),
        "draw": draw(rarely(words, st.sampled_from(DRAWS), one_in=80)),
        "dropout": draw(rarely(odd_shares, st.sampled_from((0.0, 0.0, 0.0, 0.3, 1.0)), one_in=80)),
        "stragglers": draw(rarely(odd_shares, st.sampled_from((0.0, 0.0, 0.5, 1.0)), one_in=80)),
        "payload": draw(rarely(words, st.sampled_from(CODECS), one_in=60)),
        "liars": usual(st.sampled_from((0, 0, 0, number // 3, number))),
        "silent": usual(st.sampled_from((0, 0, 0, 1, number))),
        "signatures": draw(st.booleans()),
        "commit_reveal": draw(st.booleans()),
        "stake": draw(rarely(whole, st.just(10**18))),
        "reward": draw(rarely(whole, st.just(10**16))),
        "malicious": 0,
        "quorum": draw(rarely(st.sampled_from(QUORUMS), st.none(), one_in=6)),
        "view_timeout": usual(st.sampled_from((600, 600, 1, 60, 10**6))),
        "max_views": usual(st.sampled_from((None, None, 1, 3, 20))),
        "pow_hashes": 4096,
        "solve_time": 0,
        "min_updates": usual(st.sampled_from((None, None, None, 1, number))),
        "max_samples": usual(st.sampled_from((None, None, 1, 100))),
        "leader_share": draw(rarely(real, st.sampled_from((0.2, 0.0, 0.5, 1.0)), one_in=40)),
        "rejection_penalty": draw(rarely(real, st.sampled_from((0.1, 0.0, 0.25)), one_in=40)),
        "withheld_penalty": draw(rarely(real, st.sampled_from((0.1, 0.0, 0.25)), one_in=40)),
    }
    odd_arguments = st.dictionaries(
        st.sampled_from(("label", "device", "test", "names", "x")), words | real, max_size=2
    )
    drawn["dataset_args"] = draw(rarely(odd_arguments, st.just({}), one_in=30))
    drawn["trainer"] = draw(rarely(words | st.sampled_from(("torch", "flower")), st.just("keras"), one_in=30))
    drawn["trainer_args"] = draw(rarely(odd_arguments, st.just({}), one_in=30))
    drawn["model"] = draw(rarely(model_names, st.just("mlp"), one_in=2))
    drawn["aggregator"], drawn["aggregator_args"] = draw(rules)
    drawn["server_optimizer"], drawn["server_optimizer_args"] = draw(rarely(servers, st.just((None, {})), one_in=4))
    drawn["schedule"], drawn["schedule_args"] = draw(rarely(schedules, st.just((None, {})), one_in=4))
    drawn["partition"], drawn["partition_args"] = draw(rarely(partitions, st.just(("iid", {})), one_in=2))
    drawn["attack"], drawn["attack_args"] = draw(rarely(attack_names, st.just((None, {})), one_in=2))
    if drawn["attack"] and draw(rarely(st.just(True), st.just(False), one_in=4)):
        more = draw(st.lists(attack_names, min_size=1, max_size=2))
        several = zip((drawn["attack"], drawn["attack_args"]), *more, strict=True)
        drawn["attack"], drawn["attack_args"] = map(list, several)
    drawn["metric"] = draw(rarely(st.lists(names("metric", METRICS), max_size=2), st.none(), one_in=4))
    drawn["mobility"], drawn["mobility_args"] = draw(rarely(mobilities, st.just((None, {})), one_in=4))
    drawn["radio"], drawn["radio_args"] = draw(rarely(radios, st.just((None, {})), one_in=4))
    if drawn["consensus"] == "pow":
        drawn["pow_hashes"] = usual(st.sampled_from((1, 16, 4096)))
    if drawn["consensus"] == "ethash":
        drawn["nodes"] = usual(st.just(1))
    if "same_value" in (drawn["attack"] or ()):  # most rules would not let it through
        drawn["aggregator"], drawn["aggregator_args"] = "fedavg", {}
    if drawn["attack"]:
        drawn["malicious"] = usual(st.integers(1, max(1, number // 2)))
    assert {*drawn} | LEFT_ALONE == {*SETTINGS}, "a setting that is never drawn"
    return {name: value for name, value in drawn.items() if name == "devices" or value != default_of(name)}


# `fbfl experiment`: a definition.


@st.composite
def definitions(draw: st.DrawFn, *, dataset: str) -> dict[str, Any]:
    """A definition, as TOML has it; mostly without the chain, which is quick."""
    from fbfl.experiments import definition

    chain = draw(rarely(st.just(True), st.just(False), one_in=6))
    base = draw(run_settings(dataset=dataset, one_in=300)) | {"rounds": draw(st.integers(1, 2))}
    base.pop("seed", None)
    if not chain:
        base = {name: value for name, value in base.items() if Place.FEDERATION in SETTINGS[name].places}
    shared = {name: base.pop(name) for name in list(base) if not name.startswith(("attack", "malicious", "aggreg"))}
    labels = draw(st.lists(words, min_size=2, max_size=3, unique=True))
    variants = []
    for label in labels:
        rule, rule_settings = draw(rules)
        changed = {"aggregator": rule, "aggregator_args": rule_settings}
        if draw(st.booleans()):
            changed = base
        variants.append({"label": label, "settings": changed})
    content: dict[str, Any] = {
        "title": draw(words),
        "about": draw(words),
        "seeds": draw(rarely(odd_numbers, st.integers(1, 2), one_in=20)),
        "chain": chain,
        "base": shared,
        "variants": variants,
    }
    if draw(st.booleans()):
        measures = [f"{kind}_{name}" for kind in definition.KINDS for name in (*CURVES, *METRICS, *definition.COSTS)]
        measure = draw(rarely(st.sampled_from(measures), st.just("final_accuracy"), one_in=2))
        claim = {
            "text": draw(words),
            "measure": measure,
            "variant": labels[0],
            "relation": draw(st.sampled_from(definition.RELATIONS)),
            "than": draw(st.sampled_from((labels[1], labels[1:]))),
        }
        if measure.startswith("mean_"):
            claim["rounds"] = draw(st.integers(1, 2))
        if claim["relation"] == "equal":
            claim["margin"] = 0.1
        content["claims"] = [claim]
    if draw(rarely(st.just(True), st.just(False), one_in=8)):
        content["against"] = draw(st.sampled_from(definition.AGAINST))
    if draw(rarely(st.just(True), st.just(False), one_in=8)):
        content["drawn"] = labels[:1]
    if chain and draw(st.booleans()):
        content["listing"] = True
    return {name: value for name, value in content.items() if value is not None}


@st.composite
def studies(draw: st.DrawFn) -> tuple[tuple[str, Data, Data], dict[str, Any]]:
    """A file, and the definition of an experiment on it."""
    file = draw(files())
    return file, draw(definitions(dataset=file[0]))
