"""One federation whose servers train with several trainers: one model, every vote recomputed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fbfl.audit import audit
from fbfl.learning import datasets
from fbfl.learning.tensor_names import Renamed
from fbfl.learning.trainer import Trainer, make
from fbfl.learning.training import Purpose
from fbfl.mec.tasks import purpose_of
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation
from fbfl.storage.local import LocalStore
from tests.support.regression import OWN

MODEL = "tests.support.regression:linear"


def numpys(settings: RunSettings, keras: Trainer) -> Trainer:
    """A function's trainer under the names of the Keras model."""
    purpose = vars(purpose_of(settings, datasets.load("digits"))) | {"model": "mlp"}
    own = make(OWN, {}, Purpose(**purpose))
    kernel, bias = (tensor.name for tensor in keras.spec.tensors)
    return Renamed(own, keras.spec, {"0": (kernel, None), "1": (bias, None)})


def torchs(settings: RunSettings, keras: Trainer) -> Trainer:
    """PyTorch under the names of the Keras model, whose matrix is the other way round."""
    from torch import nn

    def module() -> Any:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    purpose = vars(purpose_of(settings, datasets.load("digits"))) | {"model": module}
    kernel, bias = (tensor.name for tensor in keras.spec.tensors)
    own = make("torch", {}, Purpose(**purpose), lanes=2)
    return Renamed(own, keras.spec, {"1.weight": (kernel, ()), "1.bias": (bias, None)})


def test_servers_with_several_trainers_agree_on_one_model(tmp_path: Path) -> None:
    settings = RunSettings(servers=4, devices=8, rounds=2, dataset="digits", model=MODEL, consensus="pbft")
    digits = datasets.load("digits")
    keras = make("keras", {}, purpose_of(settings, digits), lanes=1)
    others = {1: numpys(settings, keras), 3: (torchs if find_spec("torch") else numpys)(settings, keras)}
    fed = Simulation(settings, digits, LocalStore(tmp_path), trainer=keras, trainers=others)
    results = list(fed.rounds())
    assert [result.record.status for result in results] == ["final", "final"]
    assert [len(result.record.updates) for result in results] == [4, 4]
    assert results[-1].accuracy > results[0].accuracy
    report = audit(fed.ledger, fed.store, fed.task, {MODEL})
    assert report.passed
    assert report.updates == 8
