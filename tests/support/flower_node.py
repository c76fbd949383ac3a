"""A stand-in for the process of a Flower app: speaks its protocol without Flower.

Its only argument is an expression for a function `(partition, round, arrays) -> (metrics, arrays)`, what a node
returns; the ServerApp has the strategy `STRATEGY` and starts from the arrays `FIRST`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from fbfl.learning.flower import runner

STRATEGY = {
    "name": "FedAvg",
    "of_flower": True,
    "legacy": False,
    "settings": {"weighted_by_key": "num-examples"},
    "evaluates": False,
}
FIRST = {
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "steps": np.array(7),
    "bias": np.zeros(3, np.float64),
}
PROJECT = """
[project]
name = "stand-in"
[tool.flwr.app.components]
serverapp = "a:b"
clientapp = "a:b"
"""
HONEST = "lambda node, number, arrays: ({'num-examples': node + 1, 'fit': 0.5 * node}, moved(arrays, node + number))"


def command(node: str = HONEST) -> list[str]:
    """Return the command of a process whose nodes return what this function says."""
    return [sys.executable, str(Path(__file__)), node]


def app_in(folder: Path) -> str:
    """Make the folder of an app that the stand-in can serve; returns its path."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    return str(folder)


def moved(arrays: runner.Arrays, by: float) -> runner.Arrays:
    """Return arrays that have moved, of floating point, or stayed."""
    return {name: array + by if array.dtype.kind == "f" else array for name, array in arrays.items()}


def _served(request: dict[str, Any], arrays: runner.Arrays, node: Any) -> tuple[dict[str, Any], runner.Arrays]:
    kind = request["do"]
    if kind == "strategy":
        return STRATEGY, FIRST
    if kind == "configuration":
        return {"config": {"server-round": request["round"]}}, {}
    if kind == "train":
        metrics, returned = node(request["partition"], request["config"]["server-round"], arrays)
        return {"metrics": metrics}, returned
    if kind == "evaluate":
        examples = 10 * (request["partition"] + 1)
        figures = {"num-examples": examples, "eval_acc": 1 / examples, "loss": float(arrays["kernel"].sum())}
        return {"metrics": figures}, {}
    return {}, {}


def _main() -> None:
    node = eval(sys.argv[1])
    while True:
        try:
            request, arrays = runner.read(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = _served(request, arrays, node)
        except RuntimeError as error:
            answer = {"error": f"RuntimeError: {error}", "frames": ["app.py:1 in train: raise"]}, {}
        runner.write(sys.stdout.buffer, *answer)


if __name__ == "__main__":
    _main()
