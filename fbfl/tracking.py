"""Rounds in trackers of experiments: each function opens one, and yields an `on_round` for `fbfl.run` and the like.

with tracking.tensorboard("events") as on_round:
    fbfl.run(settings, on_round=on_round)
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fbfl.errors import InvalidInputError, StorageError, failures_as
from fbfl.learning.backend import load_tensorflow
from fbfl.settings import RunSettings, as_dict

Told = Callable[[Mapping[str, Any]], None]
"""What is told of a round by its line of metrics.jsonl."""

_EVENTS = "events.out.tfevents.*"
_NOT_IN_NAMES = re.compile(r"[^\w\-./ ]")
"""Characters that MLflow refuses in the name of a metric."""
_LONGEST = 6000
"""Characters of a parameter that MLflow keeps."""


@contextmanager
def tensorboard(folder: str | os.PathLike[str], *, go_on: bool = False) -> Iterator[Told]:
    """Write every round's numbers into a folder for TensorBoard, as scalars by their names; the step is the round.

    A folder that cannot be written, or has events of another run, raises `InvalidInputError`; `go_on` adds to them.
    TensorBoard need not be installed.
    """
    path = Path(folder)
    with failures_as(InvalidInputError, f"--tensorboard {path}: cannot be written"):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # can be written
            occupied = any(path.glob(_EVENTS)) and not go_on
    if occupied:
        raise InvalidInputError(f"--tensorboard {path}: holds a run already; allowed: a new or an empty folder")
    with ExitStack() as closed_at_the_end:
        writer = None

        def on_round(line: Mapping[str, Any]) -> None:
            nonlocal writer
            load_tensorflow()
            import tensorflow as tf

            # What tf.summary.scalar writes, which wants TensorBoard's own package.
            scalars = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
            kind = tf.compat.v1.SummaryMetadata(plugin_data=scalars, data_class="DATA_CLASS_SCALAR")
            try:
                if writer is None:  # a run that does not begin leaves no file
                    writer = tf.summary.create_file_writer(str(path))
                    closed_at_the_end.callback(writer.close)
                with writer.as_default(step=line["round"]):
                    for name, value in numbers_in(line).items():
                        tf.summary.write(name, tf.constant(value, tf.float32), metadata=kind)
                    writer.flush()
            except tf.errors.OpError as error:
                raise StorageError(f"--tensorboard {path}: cannot be written: {error.message}") from error

        yield on_round


@contextmanager
def mlflow(
    settings: RunSettings | Mapping[str, Any],
    *,
    uri: str | None = None,
    experiment: str = "fbfl",
    name: str | None = None,
) -> Iterator[Told]:
    """Record a run in MLflow: settings as parameters, every round's numbers as metrics; the step is the round.

    `uri` is a tracking server or a data base, such as ``sqlite:///mlflow.db`` (default: MLFLOW_TRACKING_URI, or what
    MLflow takes without it); `name` the run's name there. A run that an error ends is marked as failed, one that
    Ctrl-C ends as killed. Raises `InvalidInputError` without the package (extra `tracking`), and `StorageError` for
    what MLflow refuses.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers of every run
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise InvalidInputError(f"mlflow: {error}; allowed with the extra: pip install 'fbfl[tracking]'") from error

    @contextmanager
    def refusals() -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            raise StorageError(f"mlflow: {str(error).splitlines()[0]}") from error

    values = as_dict(settings) if isinstance(settings, RunSettings) else settings
    parameters = [Param(key, str(value)[:_LONGEST]) for key, value in values.items()]
    with refusals():
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(experiment)
        home = known.experiment_id if known else client.create_experiment(experiment)
        run = client.create_run(home, run_name=name).info.run_id
        for first in range(0, len(parameters), 100):
            client.log_batch(run, params=parameters[first : first + 100])

    def on_round(line: Mapping[str, Any]) -> None:
        now = int(time.time() * 1000)
        numbers = numbers_in(line).items()
        metrics = [Metric(_NOT_IN_NAMES.sub("_", key), value, now, line["round"]) for key, value in numbers]
        with refusals():
            client.log_batch(run, metrics)

    try:
        yield on_round
    except BaseException as error:
        with refusals():
            client.set_terminated(run, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    with refusals():
        client.set_terminated(run)


def numbers_in(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of metrics.jsonl by name, further metrics as metrics/NAME, without nulls."""
    named = {**line, **{f"metrics/{name}": value for name, value in line.get("metrics", {}).items()}}
    return {
        name: float(value)
        for name, value in named.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "round"
    }
