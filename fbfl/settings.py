"""The settings of one run: a typed record, read from TOML and from command-line options."""

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fbfl import checks
from fbfl.errors import InvalidInputError
from fbfl.jsonobject import read_object
from fbfl.storage.codecs import check_codec
from fbfl.textfile import read_text

CONSENSUS = ("pow", "pbft", "ethash")
STORES = ("local", "ipfs")
MAX_SERVERS = 240
MAX_DEVICES = 1_000_000

Arguments = Mapping[str, object]


@dataclass(frozen=True)
class RunSettings:
    """What one federation does, end to end. Two runs with equal settings compute the same global model."""

    rounds: int = 10
    """Rounds of training, aggregation and decision."""
    servers: int = 10
    """MEC servers: the FL clients and the members of the committee."""
    devices: int = 20
    """Local devices of all servers together; device d has samples of server d mod `servers`' share."""
    mobility: str | None = None
    """How devices move between the servers' cells and collect samples: `random_waypoint`, `trace`, or
    `package.module:function`; by default they stay, and have uploaded all their samples before the first round."""
    mobility_args: Arguments = field(default_factory=dict)
    """Parameters of the mobility."""
    radio: str | None = None
    """What uploads and training cost, and who is too late for a round: `shannon`, or `package.module:function`; by
    default `shannon` where devices move, and nothing elsewhere."""
    radio_args: Arguments = field(default_factory=dict)
    """Parameters of the radio."""
    dataset: str | None = None
    """`mnist`, `mnist-5k`, `fashion-mnist`, `digits`, or the path of an .npz file; by default `mnist`, or `mnist-5k`
    where that can be had neither from disk nor from the network."""
    partition: str = "iid"
    """How the samples are split among the servers."""
    partition_args: Arguments = field(default_factory=dict)
    """Parameters of the partition."""
    model: str = "mlp"
    """`mlp`, `2nn`, `cnn`, or `package.module:function` that returns a Keras model."""
    aggregator: str = "fedavg"
    """The aggregation rule: a name or `package.module:function`."""
    aggregator_args: Arguments = field(default_factory=dict)
    """Parameters of the rule."""
    attack: str | None = None
    """What the malicious servers do: a name or `package.module:function`; none by default."""
    attack_args: Arguments = field(default_factory=dict)
    """Parameters of the attack."""
    malicious: int = 0
    """The first so many servers are malicious."""
    consensus: str = "pow"
    """`pow`, `pbft` or `ethash`."""
    liars: int = 0
    """The first so many servers lie in every phase of the consensus: they propose wrong models and vote for them."""
    signatures: bool = False
    """Servers sign their updates and votes, and one transaction records many of them."""
    commit_reveal: bool = False
    """Servers commit to their updates before anybody shows one."""
    stake: checks.Wei = 10**18
    """Wei that each server has at stake."""
    reward: checks.Wei = 10**16
    """Wei that the owner pays for a final round: a fifth to the leader, the rest by samples to the included updates."""
    nodes: int = 3
    """Full nodes of the embedded ethash network; each executes and verifies every block."""
    network: str = "eth-tester"
    """`eth-tester`, `ganache`, `anvil`, `geth`, or a JSON-RPC URL."""
    store: str = "local"
    """`local` (in the output folder) or `ipfs`."""
    payload: str = "float32"
    """How updates are published: `float32`, `float16` or `int8`."""
    local_epochs: int = 1
    """Passes of each server over its samples in a round."""
    batch_size: int = 32
    """Samples of a training step."""
    optimizer: str = "adam"
    """The Keras optimizer of the local training."""
    learning_rate: float | None = None
    """Its learning rate; the optimizer's own default if none is given."""
    seed: int = 0
    """Everything random follows from it."""

    def __post_init__(self) -> None:
        checks.fields(self)
        for name in ("rounds", "servers", "devices", "local_epochs", "batch_size", "nodes"):
            _at_least(name, getattr(self, name), 1)
        for name, most in (("servers", MAX_SERVERS), ("nodes", MAX_SERVERS), ("devices", MAX_DEVICES)):
            if getattr(self, name) > most:
                raise InvalidInputError(f"{name} is {getattr(self, name)}; allowed: 1 to {most}")
        for name in ("malicious", "liars", "stake", "reward", "seed"):
            _at_least(name, getattr(self, name), 0)
        if self.devices < self.servers:
            raise InvalidInputError(f"devices is {self.devices}; allowed: at least one per server ({self.servers})")
        if self.malicious > self.servers:
            raise InvalidInputError(f"malicious is {self.malicious}; allowed: 0 to {self.servers} (servers)")
        if self.liars > self.servers:
            raise InvalidInputError(f"liars is {self.liars}; allowed: 0 to {self.servers} (servers)")
        if self.malicious and self.attack is None:
            raise InvalidInputError(f"malicious is {self.malicious} but no attack is named; allowed: attack = NAME")
        if self.attack is not None and not self.malicious:
            raise InvalidInputError(f"attack is {self.attack!r} but malicious is 0; allowed: malicious = 1 or more")
        unnamed = {"attack": self.attack is None, "mobility": self.mobility is None}
        unnamed["radio"] = self.radio is None and self.mobility is None  # who moves has one by default
        for name, without in unnamed.items():
            if without and (args := getattr(self, f"{name}_args")):
                raise InvalidInputError(f"{name}_args is {dict(args)} but no {name} is named; allowed: {name} = NAME")
        for name in ("mobility_args", "radio_args", "partition_args", "aggregator_args", "attack_args"):
            _check_json(name, getattr(self, name))
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InvalidInputError(f"learning_rate is {self.learning_rate}; allowed: more than 0")
        if self.seed >= 2**63:
            raise InvalidInputError(f"seed is {self.seed}; allowed: 0 to 2**63 - 1")
        _one_of("consensus", self.consensus, CONSENSUS)
        _one_of("store", self.store, STORES)
        check_codec(self.payload)

    def replace(self, **changes: object) -> "RunSettings":
        """A copy with some fields changed; checked anew."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # names and types are checked by read()


def read(path: Path | None, options: Mapping[str, object]) -> RunSettings:
    """The settings of a TOML file or a run's settings.json (if given) with the options on top.

    All of them name fields of `RunSettings`.

    An unknown key, a value of the wrong type or an unreadable file raises `InvalidInputError`.
    """
    return RunSettings(**read_values(path, options))  # type: ignore[arg-type]  # checked there


def read_values(path: Path | None, options: Mapping[str, object]) -> dict[str, object]:
    """What is given of them, by the file or an option; as `read`, but how they go together is not checked."""
    if path is None:
        return dict(options)
    where = f"--config {path}"
    text = read_text(path, where)
    if text.lstrip().startswith("{"):  # the settings.json of a run, where null is a default that is none
        values = {name: value for name, value in read_object(text.encode(), where).items() if value is not None}
    else:
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInputError(f"{where}: not TOML: {error}") from error
    check_names_and_types(values, where)
    return {**values, **options}


def check_names_and_types(values: Mapping[str, object], where: str) -> None:
    """Raise `InvalidInputError`, which begins with `where`, unless these are fields of `RunSettings`, rightly typed."""
    fields = {f.name: f for f in dataclasses.fields(RunSettings)}
    for name, value in values.items():
        if name not in fields:
            raise InvalidInputError(f"{where}: unknown key {name!r}; allowed: {', '.join(fields)}")
        checks.check(f"{where}: ", name, value, fields[name].type)


def as_dict(settings: RunSettings) -> dict[str, Any]:
    """The settings as JSON values."""
    return {
        f.name: dict(value) if isinstance(value := getattr(settings, f.name), Mapping) else value
        for f in dataclasses.fields(settings)
    }


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidInputError(f"{name} is {value}; allowed: {least} or more")


def _check_json(name: str, arguments: Arguments) -> None:
    """Raise `InvalidInputError` for what the files of a run could not say."""
    for key, value in arguments.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"{name}: {key} is {value!r}; allowed: finite numbers, texts, true, false, and lists or tables of these"
            ) from error


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidInputError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
