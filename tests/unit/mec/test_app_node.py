"""A server that is a node of a Flower app, with a stand-in for the app's process."""

from pathlib import Path

import numpy as np
import pytest

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.learning.flower import trainer as flower
from fbfl.learning.flower.trainer import FlowerTrainer
from fbfl.learning.tensor_names import Names
from fbfl.mec.app_node import AppNode
from fbfl.tensors import ModelSpec, TensorSpec
from tests.support import flower_node

SPEC = ModelSpec((TensorSpec("kernel", (2, 3)), TensorSpec("bias", (3,))))
RENAMED = ModelSpec((TensorSpec("b", (3,)), TensorSpec("k", (3, 2))))
NAMES: Names = {"kernel": ("k", ()), "bias": ("b", None)}


def node(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: ModelSpec = SPEC,
    names: Names | None = None,
    function: str = flower_node.HONEST,
) -> AppNode:
    """Node 2 of three."""
    app = flower_node.app_in(tmp_path / "app")
    monkeypatch.setattr(flower, "_runner", lambda app: flower_node.command(function))
    return AppNode(lambda: FlowerTrainer(app=app, servers=3, lanes=1), 2, spec, names)


def test_a_node_trains_and_says_how_many_samples_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = node(tmp_path, monkeypatch)
    assert (server.count, len(server.training_set(1)[1])) == (0, 1)
    assert server(np.zeros(9, np.float32), 4).tolist() == [6.0] * 9
    assert server.count == server.counted() == 3
    assert server.seconds > 0


def test_its_tensors_may_have_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = node(tmp_path, monkeypatch, RENAMED, NAMES)
    assert server(np.zeros(9, np.float32), 1).tolist() == [3.0] * 9


def test_other_tensors_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="the Flower app has other tensors here than the task says"):
        node(tmp_path, monkeypatch, RENAMED)


def test_an_app_that_has_failed_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "failed"
    ends = f"Path({str(mark)!r}).exists() or (Path({str(mark)!r}).touch(), sys.exit(3))"
    server = node(tmp_path, monkeypatch, function=f"lambda *given: ({ends}) and ({flower_node.HONEST})(*given)")
    with pytest.raises(ProcessError, match="its process ended with status 3 during train of node 2"):
        server(np.zeros(9, np.float32), 1)
    assert server.count == 0
    assert server(np.zeros(9, np.float32), 1).tolist() == [3.0] * 9
