"""Parts that are kept, which makes many federations quick and changes no result."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fbfl import simulation
from fbfl.chain.devnet import Devnet
from fbfl.chain.embedded.chain import start_chain
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.trainer import TRAINERS
from fbfl.settings import RunSettings

_MOST_TRAINERS = 6


@contextlib.contextmanager
def kept_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, equal trainers are compiled once, and embedded chains begin on a copy of one with registered servers."""
    kept: dict[str, KerasTrainer] = {}

    class KeptTrainer(KerasTrainer):
        def __new__(cls, *args: Any, **more: Any) -> KerasTrainer:  # type: ignore[misc]  # it may have been made before
            return kept.get(_words(args, more)) or super().__new__(cls)

        def __init__(self, *args: Any, **more: Any) -> None:
            words = _words(args, more)
            if words not in kept:
                super().__init__(*args, **more)
                while len(kept) >= _MOST_TRAINERS:
                    del kept[next(iter(kept))]
                kept[words] = self

    started = simulation.devnet_of

    def devnet_of(settings: RunSettings, deployment: Path | None = None) -> Devnet:
        if settings.consensus == "ethash":
            return started(settings, deployment)
        return _devnet(settings.servers, settings.stake).copy()

    monkeypatch.setitem(TRAINERS, "keras", KeptTrainer)
    monkeypatch.setattr(simulation, "devnet_of", devnet_of)
    yield


def _words(args: tuple[Any, ...], more: dict[str, Any]) -> str:
    """Arguments as text: 32.0 equals 32, and is refused all the same."""
    return repr((args, sorted(more.items())))


@functools.lru_cache(maxsize=16)
def _devnet(servers: int, stake: int) -> Devnet:
    devnet = Devnet.deployed([start_chain(servers + 1)])
    owner, *others = devnet.participants(devnet.accounts(servers))
    devnet.register(owner, others, stake)
    return devnet
