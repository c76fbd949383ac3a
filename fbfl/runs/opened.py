"""Runs from Python: `fbfl.run` plays one, `fbfl.open_run` opens it again."""

import os
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.audit import Finding
from fbfl.audit import audit as audit_task
from fbfl.chain.deployment.deploy import DEPLOYMENTS, file_of
from fbfl.chain.networks import EMBEDDED, connect
from fbfl.chain.queries import round_records
from fbfl.chain.records import RoundRecord
from fbfl.errors import require
from fbfl.learning.on_round import OnRound, teller
from fbfl.runs import models
from fbfl.runs.files import read_json, read_metrics
from fbfl.runs.folder import StoredRun, open_stored
from fbfl.runs.play import own_functions, play
from fbfl.settings import RunSettings, read_stored
from fbfl.tensors import Vector

if TYPE_CHECKING:
    import pandas as pd


def run(
    settings: RunSettings | None = None,
    output: str | os.PathLike[str] | None = None,
    on_round: OnRound | None = None,
) -> "Run":
    """Play a federation end to end, as the command `fbfl run` does, and return it as `open_run` does.

    `output` is a new folder (default: runs/<time>). `on_round` is called after every round with its line of
    metrics.jsonl; what it raises ends the run with `UserCodeError`. Nothing is printed: warnings are in
    `summary["warnings"]`. Unlike the command it also returns a run without a final round. Wrong settings raise
    `InvalidInputError`, other failures an `FbflError`.
    """
    settings = RunSettings() if settings is None else settings
    require(isinstance(settings, RunSettings), "settings", settings, "fbfl.RunSettings(...)")
    tell = teller(on_round)
    deployment = None if settings.network == EMBEDDED else file_of(connect(settings.network), DEPLOYMENTS)
    played = play(settings, None if output is None else Path(output), deployment=deployment, on_round=tell)
    return Run(played.path, own_functions(settings))


def open_run(path: str | os.PathLike[str], plugins: Iterable[str] = ()) -> "Run":
    """Open the folder of a run, which may be under way still.

    A model or rule of a user's own, `package.module:function`, is code that the folder names: it is imported only if
    it is in `plugins`. A folder without a run raises `InvalidInputError`.
    """
    return Run(Path(path), frozenset(plugins))


class Run:
    """A run in its folder. Everything is read when it is first asked for, the chain re-executed and checked."""

    def __init__(self, path: Path, plugins: Collection[str] = ()) -> None:
        self.path = path.absolute()
        read_json(path / "settings.json")  # names what a folder without a run lacks
        self.settings: RunSettings = read_stored(path / "settings.json")
        """Settings of the run."""
        self._plugins = plugins

    def __repr__(self) -> str:
        """Return its folder and its size."""
        return f"<Run {self.path}: {self.settings.servers} servers, {self.settings.rounds} rounds>"

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Content of summary.json; `InvalidInputError` if the run has not ended."""
        return read_json(self.path / "summary.json")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl so far, one per round."""
        return read_metrics(self.path)

    @cached_property
    def rounds(self) -> list[RoundRecord]:
        """Records of all rounds, from the chain."""
        return list(round_records(self._stored.ledger, self._stored.task.id))

    def weights(self, round: int | None = None) -> list[Vector]:
        """Return the global model's tensors, in order, after a round (0: before the first; default: the last).

        After an aborted round they are those before it. A payload that is missing or damaged raises `StorageError`, a
        round that does not exist `InvalidInputError`.
        """
        return self._model(round).weights

    def keras_model(self, round: int | None = None) -> Any:
        """Return a new Keras model, not compiled, with the weights of `weights(round)`; it gives logits."""
        return self._model(round).keras_model()

    def audit(self) -> tuple[Finding, ...]:
        """Recompute every round from chain and payloads; return what differs, nothing if everything is right."""
        stored = self._stored
        return audit_task(stored.ledger, stored.store, stored.task, self._plugins).findings

    def to_pandas(self) -> "pd.DataFrame":
        """Return `metrics` as a table with a row per round, by its number."""
        import pandas as pd

        return pd.DataFrame(self.metrics or {"round": []}).set_index("round")

    @cached_property
    def _stored(self) -> StoredRun:
        return open_stored(self.path)

    def _model(self, number: int | None) -> models.StoredModel:
        return models.after(self._stored, self._plugins, number, self.rounds)
