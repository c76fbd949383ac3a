"""Small federations on the digits data, for tests of the whole system."""

from functools import cache
from pathlib import Path
from typing import Any

from eth_typing import Address, ChecksumAddress
from eth_utils.address import to_canonical_address

from fbfl.chain.devnet import Devnet
from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.remote import Node
from fbfl.learning import datasets
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.training import TrainingSettings
from fbfl.mec.tasks import training_of
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation, devnet_of
from fbfl.storage.local import LocalStore

SMALL: dict[str, Any] = {"dataset": "digits", "servers": 4, "devices": 8, "rounds": 2, "signatures": False}
"""By transactions, since most tests look at those of single servers; signatures are the default of PBFT alone."""


def federation(folder: Path, *, simulation: dict[str, Any] | None = None, **settings: Any) -> Simulation:
    """A federation of four servers on the digits, with its payloads in `folder`.

    Unless `simulation` has its own, it begins on a copy of deployed contracts, with a trainer that others had, too:
    to the bytes as with new ones (`test_an_experiment_begins_each_run_as_if_it_were_the_first`), in half the time.
    """
    chosen = RunSettings(**{**SMALL, **settings})
    options = dict(simulation or {})
    if chosen.consensus != "ethash":
        options.setdefault("devnet", _deployed(chosen.consensus, chosen.servers).copy())
    if "lanes" not in options and chosen.trainer == "keras":
        options.setdefault("trainer", _trainer(chosen.model, training_of(chosen), chosen.seed))
    return Simulation(chosen, datasets.load("digits"), LocalStore(folder), **options)


def embedded(chain: Node) -> EmbeddedChain:
    """Return the chain of a simulation that is in this process, which can be looked into and set back."""
    assert isinstance(chain, EmbeddedChain)
    return chain


def set_miner(chain: EmbeddedChain, miner: ChecksumAddress) -> None:
    """Set the coinbase of the blocks from now on."""
    chain.chain.miner = Address(to_canonical_address(miner))


@cache
def _deployed(consensus: str, servers: int) -> Devnet:
    return devnet_of(RunSettings(**{**SMALL, "consensus": consensus, "servers": servers, "devices": servers}))


@cache
def _trainer(model: str, settings: TrainingSettings, seed: int) -> KerasTrainer:
    digits = datasets.load("digits")
    return KerasTrainer(model, settings, input_shape=digits.input_shape, num_classes=digits.num_classes, seed=seed)
