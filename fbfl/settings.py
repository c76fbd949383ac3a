"""The settings of one run: a table, from which options, files, guide and checks follow; read from TOML and options."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from fbfl.errors import InvalidInputError, require
from fbfl.learning import losses
from fbfl.learning.metrics import METRICS
from fbfl.learning.samples import MAX_CLASSES
from fbfl.learning.sampling import DRAWS, MOST_SEATS
from fbfl.learning.server_optimizers import SERVER_OPTIMIZERS
from fbfl.learning.training import TrainingSettings
from fbfl.storage.codecs import CODECS
from fbfl.system.strictjson import read_object
from fbfl.system.textfile import read_text, toml_in
from fbfl.values import checks
from fbfl.values.fields import Place, Setting, field, like, settings_of

CONSENSUS = ("pow", "pbft", "ethash")
QUORUMS = ("majority", "byzantine")
STORES = ("local", "ipfs")
LARGEST = 2**31 - 1
"""Largest number of seconds, rounds or samples that a task can fix: every contract holds it."""
MAX_ROUNDS = 2**16 - 1
"""Most rounds of a task: contracts count them in 16 bits."""
MAX_SERVERS = MOST_SEATS
MAX_DEVICES = 1_000_000

APPS_RULE = "app"
"""The aggregator that stands for the strategy of a Flower app."""

FLOWER = "flower"
"""The trainer that runs Flower apps."""

_EMBEDDED = "eth-tester"  # as fbfl.chain.networks has it, whose import takes seconds
_CHAIN: dict[str, Any] = {"places": Place.ON_CHAIN}

Arguments = Mapping[str, object]


def _part(most: float) -> dict[str, Any]:
    """Return bounds of a part: contracts hold it in 1/10,000, and take at most a quarter of a stake for a mistake."""
    return {"least": 0, "most": most, "step": 1e-4}


@dataclass(frozen=True)
class RunSettings:
    """Settings of one federation, end to end. Two runs with equal settings compute the same global model.

    They are declared only here: command line, files, `fbfl schema`, docs/settings.md and checks follow.
    """

    rounds: int = field(
        10, "rounds of training, aggregation and decision", least=1, most=MAX_ROUNDS, begins="federation"
    )
    servers: int = field(10, "MEC servers: the FL clients and the members of the committee", least=1, most=MAX_SERVERS)
    participation: float = field(1.0, "part of the servers that is drawn for a round to train", above=0, most=1)
    draw: str = field(
        "seed",
        "what draws them: seed (that of the run) or chain (the contract that opens the round; on a network always)",
        allowed=DRAWS,
        places=Place.IN_ONE_PROCESS,
    )
    dropout: float = field(
        0.0,
        "probability that a server that was drawn sends no update",
        least=0,
        most=1,
        places=Place.IN_ONE_PROCESS,
    )
    stragglers: float = field(
        0.0,
        "part of the drawn servers that manages only some of its epochs or steps",
        least=0,
        most=1,
        places=Place.IN_ONE_PROCESS,
    )
    seed: int = field(0, "seed of everything random", least=0, most=2**63 - 1)

    dataset: str | None = field(
        None,
        "mnist, mnist-5k, fashion-mnist, digits, emnist, svhn, har, what Keras downloads (cifar10, imdb, ...), a file "
        "(.npz, .csv, .parquet), a folder that Hugging Face's datasets saved, or package.module:function",
        by_default="mnist, or mnist-5k if that is neither on disk nor available from the network",
        begins="data",
    )
    dataset_args: Arguments = field(dict, "parameters of the data set")
    partition: str = field(
        "iid",
        "split of samples among servers: iid, shards, dirichlet, ..., or package.module:function",
        places=Place.IN_ONE_PROCESS,
    )
    partition_args: Arguments = field(dict, "parameters of the partition", places=Place.IN_ONE_PROCESS)
    num_classes: int | None = field(
        None,
        "number of classes; 0, with a loss of your own: labels are numbers",
        least=0,
        most=MAX_CLASSES,
        by_default="2 with binary_cross_entropy, 0 with mean_squared_error, else the largest label plus one",
    )

    devices: int = field(
        None,
        "local devices of all servers together, at least one each; device d has samples of server d mod servers",
        least=1,
        most=MAX_DEVICES,
        derive=lambda settings: settings.servers if settings.trainer == FLOWER else max(20, settings.servers),
        by_default=f"20, or as many as there are servers; with {FLOWER} as many as these",
        places=Place.IN_ONE_PROCESS,
        begins="devices",
    )
    mobility: str | None = field(
        None,
        "movement of devices between cells: random_waypoint, trace, or package.module:function",
        by_default="none, so devices stay, and have uploaded all before the first round",
        places=Place.SIMULATION,
    )
    mobility_args: Arguments = field(dict, "parameters of the mobility", places=Place.SIMULATION)
    radio: str | None = field(
        None,
        "cost of uploads and training, with deadlines: shannon, or package.module:function",
        by_default="shannon if devices move, else none",
        places=Place.SIMULATION,
    )
    radio_args: Arguments = field(dict, "parameters of the radio", places=Place.SIMULATION)

    model: str = field(
        "mlp",
        "mlp, 2nn, cnn, or package.module:function that returns a model of the trainer's",
        begins="model and training",
    )
    trainer: str = field(
        "keras",
        "what trains: keras, torch, flower, or package.module:function, a function that trains or a class of trainers",
    )
    trainer_args: Arguments = field(dict, "parameters of the trainer")
    app: str | None = field(
        None,
        "folder of the Flower app that trains and evaluates, on its own data",
        by_default="none",
        places=Place.ON_CHAIN,
        only={"trainer": FLOWER},
    )
    local_epochs: int = like(TrainingSettings, "local_epochs")
    local_steps: int | None = like(TrainingSettings, "local_steps")
    batch_size: int = like(TrainingSettings, "batch_size")
    optimizer: str = like(TrainingSettings, "optimizer")
    learning_rate: float | None = like(TrainingSettings, "learning_rate", least=None, above=0)
    schedule: str | None = like(TrainingSettings, "schedule")
    schedule_args: Arguments = like(TrainingSettings, "schedule_args")
    loss: str = like(TrainingSettings, "loss")
    proximal: float = like(TrainingSettings, "proximal")
    metric: checks.Names | None = field(
        None,
        f"further figure of the global model: {', '.join(METRICS)}, or package.module:function; several are a list",
        by_default="none; mae where labels are numbers",
        places=Place.IN_ONE_PROCESS,
    )

    aggregator: str = field(
        None,
        "the rule: fedavg, krum, trimmed_mean, ..., or package.module:function",
        derive=lambda settings: APPS_RULE if settings.trainer == FLOWER else "fedavg",
        by_default=f"fedavg; with flower {APPS_RULE}, the rule of the app's strategy",
        begins="aggregation",
    )
    aggregator_args: Arguments = field(dict, "parameters of the rule")
    server_optimizer: str | None = field(
        None,
        f"step from the aggregate to the model: {', '.join(SERVER_OPTIMIZERS)}, or package.module:function",
        by_default="none, so the aggregate is added",
    )
    server_optimizer_args: Arguments = field(dict, "parameters of the server optimizer")
    max_samples: int | None = field(
        None,
        "most samples that an update counts for, whatever its server claims",
        **_CHAIN,
        least=1,
        most=LARGEST,
        by_default="the most that a server can hold; on a network twice an equal share",
    )

    attack: checks.Names | None = field(
        None,
        "attack of malicious servers: label_flipping, model_poisoning, backdoor, ..., or package.module:function; of "
        "several each is done after the one before",
        by_default="none",
        places=Place.IN_ONE_PROCESS,
        begins="attacks",
    )
    attack_args: checks.Tables = field(
        dict, "parameters of the attack; of several a table for each", places=Place.IN_ONE_PROCESS
    )
    malicious: int = field(0, "number of malicious servers, from the first", least=0, places=Place.IN_ONE_PROCESS)
    liars: int = field(
        0,
        "number of servers, from the first, that lie in every phase of the consensus and vote for wrong models",
        least=0,
        places=Place.SIMULATION,
    )
    silent: int = field(
        0, "number of servers, from the last, that propose nothing at their turn", least=0, places=Place.SIMULATION
    )

    consensus: str = field(
        "pow", "consensus on the new global model: pow, pbft or ethash", **_CHAIN, allowed=CONSENSUS, begins="consensus"
    )
    quorum: str | None = field(
        None,
        "votes that carry a proposal of n servers: majority (more than half) or byzantine, (2n-1)/3+1",
        **_CHAIN,
        allowed=QUORUMS,
        by_default="byzantine with pbft, else majority",
    )
    signatures: bool = field(
        None,
        "sign updates and votes, and record many in one transaction",
        **_CHAIN,
        derive=lambda settings: settings.consensus == "pbft" and settings.network == _EMBEDDED,
        by_default=f"true with pbft on {_EMBEDDED}, else false",
    )
    commit_reveal: bool = field(False, "commit to updates before any is revealed", **_CHAIN)
    min_updates: int | None = field(
        None,
        "updates below which a round aborts",
        **_CHAIN,
        least=1,
        most=MAX_SERVERS,
        by_default="all drawn servers but those that may be absent (with dropout: any), at least what the rule needs",
    )
    view_timeout: int = field(
        600,
        "seconds of a round's first view; each lasts twice as long as the one before, up to eight times this",
        **_CHAIN,
        least=1,
        most=LARGEST,
    )
    max_views: int | None = field(
        None,
        "views after which a round aborts",
        **_CHAIN,
        least=1,
        most=2**16 - 1,
        by_default="half of the servers, at least 8, so that liars cannot use them up",
    )
    pow_hashes: int = field(
        4096,
        "average hashes for the first puzzle, by all servers together",
        **_CHAIN,
        least=1,
        most=LARGEST,
        only={"consensus": "pow"},
    )
    solve_time: int = field(
        0,
        "seconds that a puzzle should take, to which the difficulty adapts; 0 keeps it fixed",
        **_CHAIN,
        least=0,
        most=LARGEST,
        only={"consensus": "pow"},
    )

    reward: checks.Wei = field(
        10**16,
        "owner's pay for a final round, to its leader and, by samples, for updates",
        least=0,
        **_CHAIN,
        begins="rewards and penalties",
    )
    leader_share: float = field(0.2, "part of a reward that goes to the leader", **_CHAIN, **_part(1))
    stake: checks.Wei = field(
        10**18,
        "stake of each server: wei, or an amount such as '0.01 ether'",
        least=0,
        places=Place.SIMULATION,
    )
    rejection_penalty: float = field(
        0.1, "part of its stake that a leader loses if its proposal is voted down", **_CHAIN, **_part(0.25)
    )
    withheld_penalty: float = field(
        0.1, "part of its stake that a server loses if it withholds its payload", **_CHAIN, **_part(0.25)
    )

    network: str = field(
        _EMBEDDED,
        "eth-tester (in this process), anvil, ganache, geth, or a JSON-RPC URL",
        **_CHAIN,
        begins="chain and payloads",
    )
    nodes: int = field(
        3,
        "full nodes of the embedded ethash network; each executes and verifies every block",
        least=1,
        most=MAX_SERVERS,
        places=Place.SIMULATION,
        only={"consensus": "ethash", "network": _EMBEDDED},
    )
    store: str = field("local", "store of payloads: local (the folder of the run) or ipfs", **_CHAIN, allowed=STORES)
    payload: str = field("float32", "codec of published updates: float32, float16 or int8", **_CHAIN, allowed=CODECS)

    def __post_init__(self) -> None:
        checks.fields(self)
        require(self.devices >= self.servers, "devices", self.devices, f"at least one per server ({self.servers})")
        for name in ("malicious", "liars", "silent"):
            require(getattr(self, name) <= self.servers, name, getattr(self, name), f"0 to {self.servers} (servers)")
        if self.malicious and self.attack is None:
            raise InvalidInputError(f"malicious is {self.malicious} but no attack is named; allowed: attack = NAME")
        if self.attack is not None and not self.malicious:
            raise InvalidInputError(f"attack is {self.attack!r} but malicious is 0; allowed: malicious = 1 or more")
        optional = ("dataset", "attack", "mobility", "server_optimizer", "schedule")
        for name in (*optional, "radio", "app"):  # an empty text, as of a variable that is not set, is not the default
            require(getattr(self, name) != "", name, "", "a name; without it the default holds")
        unnamed = {name: getattr(self, name) is None for name in optional}
        unnamed["radio"] = self.radio is None and self.mobility is None  # moving devices have one by default
        for name, without in unnamed.items():
            if without and (args := getattr(self, f"{name}_args")):
                shown = dict(args) if isinstance(args, Mapping) else [*args]
                raise InvalidInputError(f"{name}_args is {shown} but no {name} is named; allowed: {name} = NAME")
        self._check_attacks()
        if self.trainer == FLOWER:
            self._check_app()
        for name in SETTINGS:
            if name.endswith("_args"):
                tables = getattr(self, name)
                for table in (tables,) if isinstance(tables, Mapping) else tables:
                    _check_json(name, table)
        if self.quorum == "majority" and self.consensus == "pbft":
            raise InvalidInputError("quorum is 'majority'; allowed with pbft: byzantine")
        if self.solve_time and self.network == _EMBEDDED:
            raise InvalidInputError(f"solve_time is {self.solve_time}; allowed on {_EMBEDDED}: 0, as time is logical")
        if self.min_updates is not None and self.min_updates > self.servers:
            raise InvalidInputError(f"min_updates is {self.min_updates}; allowed: 1 to {self.servers} (servers)")
        if not self.reward and "leader_share" in changed({"leader_share": self.leader_share}):
            raise InvalidInputError(f"leader_share is {self.leader_share} but reward is 0; allowed: reward = 1 or more")
        self._refuse_what_means_nothing()
        losses.known_classes(self.loss, self.num_classes)

    def _check_attacks(self) -> None:
        """Refuse parameters of which nobody could tell whose they are."""
        count = len(self.attack) if isinstance(self.attack, tuple) else 1
        alone = isinstance(self.attack_args, Mapping)
        if (alone and count > 1 and self.attack_args) or (not alone and len(self.attack_args) != count):
            raise InvalidInputError(
                f"attack_args is {self.attack_args!r}, and attack {self.attack!r}; allowed: a table for each attack"
            )

    def _check_app(self) -> None:
        """Refuse what would decide about data and nodes that are a Flower app's own."""
        if self.app is None:
            raise InvalidInputError(f"trainer is {FLOWER} but no app is named; allowed: app = DIR, on a chain")
        for name in (name for name in changed(vars(self)) if name in _APPS_OWN):
            raise InvalidInputError(
                f"{name} is {getattr(self, name)!r}; allowed with {FLOWER}: its default, the app has its own"
            )
        for name in ("app", "servers"):
            if name in self.trainer_args:
                raise InvalidInputError(f"trainer_args has {name!r}; allowed: {name} as a setting of its own")

    @property
    def attacks(self) -> tuple[tuple[str, Arguments], ...]:
        """The attacks in their order, each with its parameters."""
        if self.attack is None:
            return ()
        names = (self.attack,) if isinstance(self.attack, str) else self.attack
        tables = self.attack_args
        each = (tables,) * len(names) if isinstance(tables, Mapping) else tables
        return tuple(zip(names, each, strict=True))

    @property
    def known_classes(self) -> int | None:
        """Number of classes as far as it is known without the data; 0 if labels are numbers."""
        return losses.known_classes(self.loss, self.num_classes)

    def _refuse_what_means_nothing(self) -> None:
        """Refuse settings that differ from their default but need other values of other settings."""
        dependent = {name: getattr(self, name) for name, setting in SETTINGS.items() if setting.only}
        for name in changed(dependent):
            wanted = SETTINGS[name].only
            if any(getattr(self, other) != value for other, value in wanted.items()):
                only = " and ".join(f"{other} = {value}" for other, value in wanted.items())
                raise InvalidInputError(f"{name} is {getattr(self, name)!r}; allowed: only with {only}")

    @property
    def training(self) -> dict[str, Any]:
        """Settings that `TrainingSettings` takes; of those that the first tasks did not know, what was changed."""
        names = [each.name for each in dataclasses.fields(TrainingSettings) if each.name in SETTINGS]
        values = {name: getattr(self, name) for name in names}
        later = changed({name: value for name, value in values.items() if name not in _FIRST})
        return {name: value for name, value in values.items() if name in _FIRST or name in later}

    def replace(self, **changes: object) -> "RunSettings":
        """Return a copy with some fields changed; checked anew."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # names and types are checked by read()


SETTINGS: Mapping[str, Setting] = settings_of(RunSettings)
"""Declaration of each setting."""

_APPS_OWN = (
    "dataset",
    "dataset_args",
    "devices",
    "partition",
    "partition_args",
    "mobility",
    "radio",
    "model",
    "num_classes",
    "stragglers",
    *(each.name for each in dataclasses.fields(TrainingSettings) if each.name in SETTINGS),
)
"""Settings that a Flower app decides about itself."""

_FIRST = ("local_epochs", "batch_size", "optimizer", "learning_rate")
"""Settings of training that every task names."""

_FIELDS = {each.name: each for each in dataclasses.fields(RunSettings)}


def default_of(name: str, others: Mapping[str, object] = MappingProxyType({})) -> Any:
    """Return the default of a setting, if these others are given."""
    each = _FIELDS[name]
    if derive := SETTINGS[name].derive:
        return derive(SimpleNamespace(**{other.name: other.default for other in _FIELDS.values()} | {**others}))
    return each.default if each.default_factory is dataclasses.MISSING else each.default_factory()


def checked(name: str, value: object, where: str = "") -> Any:
    """Return the value of a setting as `RunSettings` has it; one that is not allowed raises `InvalidInputError`."""
    checks.check(where, name, value, _FIELDS[name].type)
    value = checks.plain(checks.counted(value, _FIELDS[name].type))
    SETTINGS[name].check(where, name, value)
    return value


def changed(values: Mapping[str, Any]) -> list[str]:
    """Return the names of these settings whose values differ from the defaults."""
    given = {name: checks.plain(checks.counted(value, _FIELDS[name].type)) for name, value in values.items()}
    return [name for name, value in given.items() if value is not None and value != default_of(name, given)]


def refuse_elsewhere(values: Mapping[str, Any], place: Place, where: str, allowed: str) -> None:
    """Raise `InvalidInputError` for values that differ from the default and mean nothing in a place."""
    for name in changed(values):
        if place not in SETTINGS[name].places:
            raise InvalidInputError(f"{where}{name} is {values[name]!r}; allowed {allowed}")


def read(path: Path | None, options: Mapping[str, object]) -> RunSettings:
    """Return the settings of a TOML file or a run's settings.json (if given) with the options on top.

    All of them name fields of `RunSettings`.

    An unknown key, a value of the wrong type or an unreadable file raises `InvalidInputError`.
    """
    return RunSettings(**read_values(path, options))  # type: ignore[arg-type]  # checked there


def read_stored(path: Path) -> RunSettings:
    """Return the settings that a run keeps in its settings.json; `InvalidInputError` names the file."""
    values = read_values(path, {}, str(path))
    try:
        return RunSettings(**values)  # type: ignore[arg-type]  # checked there
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error


def read_values(path: Path | None, options: Mapping[str, object], where: str = "") -> dict[str, object]:
    """Return the settings given by the file or an option; like `read`, but unchecked against each other.

    `where` names the file in messages (default: as the option does).
    """
    if path is None:
        return dict(options)
    where = where or f"--config {path}"
    text = read_text(path, where)
    if path.suffix == ".json" or text.lstrip().startswith("{"):  # of a run, where null stands for a default of None
        values = {name: value for name, value in read_object(text.encode(), where).items() if value is not None}
    else:
        values = toml_in(text, where)
    check_names_and_types(values, where)
    return {**values, **options}


def check_names_and_types(values: Mapping[str, object], where: str) -> None:
    """Raise `InvalidInputError`, which begins with `where`, unless these are fields of `RunSettings`, rightly typed."""
    for name, value in values.items():
        if name not in _FIELDS:
            raise InvalidInputError(f"{where}: unknown key {name!r}; allowed: {', '.join(_FIELDS)}")
        checks.check(f"{where}: ", name, value, _FIELDS[name].type)


def as_dict(settings: RunSettings) -> dict[str, Any]:
    """Return the settings as JSON values, as a file of them is read again."""
    return {each.name: _as_json(getattr(settings, each.name)) for each in dataclasses.fields(settings)}


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [_as_json(each) for each in value] if isinstance(value, tuple) else value


def _check_json(name: str, arguments: Arguments) -> None:
    """Raise `InvalidInputError` for values that the files of a run cannot hold."""
    for key, value in arguments.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"{name}: {key} is {value!r}; allowed: finite numbers, texts, true, false, and lists or tables of these"
            ) from error
