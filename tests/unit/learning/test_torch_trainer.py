"""PyTorch as a trainer: a plain loop's bytes, whatever the lanes; what moves, what stays, and what is refused."""

import errno
import os
import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fbfl.errors import FbflError, InvalidInputError
from fbfl.learning import forks
from fbfl.learning.datasets import load
from fbfl.learning.federation import Federation
from fbfl.learning.function_trainer import scaled
from fbfl.learning.trainer import Classifier, make
from fbfl.learning.training import Purpose, TrainingSettings, draws

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
nn = torch.nn
functional = nn.functional

DIGITS = load("digits")
TEST = DIGITS.x_test, DIGITS.y_test
CLIENTS = [(DIGITS.x_train[first::8], DIGITS.y_train[first::8]) for first in range(8)]


def plain() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))


class Drawing(nn.Module):  # type: ignore[misc, name-defined]
    """Draws in five ways, one of them rarely."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.output = nn.Linear(64, 24), nn.Linear(24, 10)
        self.statistics = nn.BatchNorm1d(24)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Any) -> Any:
        hidden = functional.dropout(self.statistics(self.hidden(x.flatten(1))), 0.3, self.training)
        if self.training:
            self.calls += 1
            hidden = hidden + 0.1 * torch.randn_like(hidden)
            if torch.rand(()) < 0.2:
                hidden = hidden + torch.empty_like(hidden).uniform_(-0.1, 0.1)
            hidden = hidden * (0.9 + 0.2 * np.random.random()) + 0.1 * random.random()  # noqa: NPY002
        return self.output(hidden)


class Tied(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(10, 10), nn.Linear(10, 10)
        self.enter = nn.Linear(64, 10)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(self.enter(x.flatten(1))).relu())


def made(model: Any = plain, lanes: int = 1, arguments: Any = None, seed: int = 3, **settings: Any) -> Any:
    purpose = Purpose(model, TrainingSettings(**settings), (8, 8), 10, seed)
    return make("torch", arguments or {}, purpose, lanes=lanes)


def updates(trainer: Any, clients: Any = CLIENTS, ids: Any = None, **options: Any) -> Any:
    ids = range(len(clients)) if ids is None else ids
    given = {"weights": trainer.initial_weights(), "round_number": 2, **options}
    return np.array(list(trainer.train(clients=clients, client_ids=ids, **given)))


def test_a_client_trains_as_in_a_plain_loop() -> None:
    trainer = made(local_epochs=3, optimizer="rmsprop", learning_rate=0.01, proximal=0.2)
    (found,) = updates(trainer, CLIENTS[5:6], ids=[5])
    module, start = plain(), trainer.spec.unflatten(trainer.initial_weights())
    with torch.no_grad():
        for parameter, first in zip(module.parameters(), start, strict=True):
            parameter.copy_(torch.tensor(first))
    anchors = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer = torch.optim.RMSprop(module.parameters(), lr=0.01)
    x, y = torch.tensor(scaled(CLIENTS[5][0])), torch.tensor(CLIENTS[5][1])
    for order in draws(3, 2, 5, len(y), 3, 1)[0]:
        for batch in np.split(order, range(32, len(y), 32)):
            optimizer.zero_grad()
            loss = functional.cross_entropy(module(x[batch]), y[batch])
            pull = sum(((w - first) ** 2).sum() for w, first in zip(module.parameters(), anchors, strict=True))
            (loss + 0.1 * pull).backward()
            optimizer.step()
    trained = trainer.spec.flatten([parameter.detach().numpy() for parameter in module.parameters()])
    np.testing.assert_allclose(found, trained - trainer.initial_weights(), atol=1e-5)
    assert np.abs(found).max() > 0.01


def test_the_bytes_do_not_depend_on_lanes_company_or_what_else_draws() -> None:
    one, three = made(Drawing, local_epochs=2), made(Drawing, lanes=3, local_epochs=2)
    assert np.array_equal(one.initial_weights(), three.initial_weights())
    expected = updates(one)
    torch.manual_seed(99)
    for _ in range(3):
        assert np.array_equal(updates(three), expected)
    state, others = torch.get_rng_state(), (random.getstate(), pickle.dumps(np.random.get_state()))  # noqa: NPY002
    assert np.array_equal(updates(three, CLIENTS[4:5], ids=[4])[0], expected[4])
    assert torch.equal(torch.get_rng_state(), state), "the program's own random numbers go on as they were"
    assert (random.getstate(), pickle.dumps(np.random.get_state())) == others  # noqa: NPY002
    for other in (updates(one, CLIENTS[4:5], ids=[5]), updates(one, CLIENTS[4:5], ids=[4], round_number=3)):
        assert not np.array_equal(other[0], expected[4])
    assert not np.array_equal(updates(made(Drawing, seed=4, local_epochs=2)), expected)
    weights = one.initial_weights() + expected[0]
    assert np.array_equal(
        one.logits(weights, np.repeat(TEST[0], 8, axis=0)), three.logits(weights, np.repeat(TEST[0], 8, axis=0))
    )


class Recomputed(Drawing):
    """Forgets what it computed, and computes it anew on the way back."""

    def forward(self, x: Any) -> Any:
        drop = torch.utils.checkpoint.checkpoint(functional.dropout, self.hidden(x.flatten(1)), use_reentrant=False)
        return self.output(drop)


def test_what_is_computed_anew_on_the_way_back_draws_the_same() -> None:
    class Kept(Recomputed):
        def forward(self, x: Any) -> Any:
            return self.output(functional.dropout(self.hidden(x.flatten(1))))

    np.testing.assert_allclose(updates(made(Recomputed)), updates(made(Kept)), atol=1e-6)


def test_where_pytorch_refuses_forks_clients_train_in_threads() -> None:
    """As after a compilation in this process; in forks alone here."""
    parent = os.getpid()

    class Refusing(Drawing):
        def forward(self, x: Any) -> Any:
            if self.training and os.getpid() != parent:
                raise RuntimeError(
                    "Unable to handle autograd's threading in combination with fork-based multiprocessing."
                )
            return super().forward(x)

    empty = DIGITS.x_train[:0], DIGITS.y_train[:0]
    clients = [empty, *CLIENTS]
    assert np.array_equal(updates(made(Refusing, lanes=2), clients), updates(made(Drawing), clients))


def test_where_the_system_refuses_forks_clients_train_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")  # as /dev/shm may be in a container

    expected = updates(made(Drawing))
    monkeypatch.setattr(forks, "ProcessPoolExecutor", refuse)
    assert np.array_equal(updates(made(Drawing, lanes=2)), expected)


def test_what_a_module_prints_in_training_is_seen() -> None:
    program = """
import numpy as np, torch
from fbfl.learning.torch_trainer import TorchTrainer

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(4, 10)
    def forward(self, x):
        if self.training and len(x) == 5:
            print("trains")
        return super().forward(x)

trainer = TorchTrainer(Net, input_shape=(4,), lanes=2)
print("begins")
client = np.zeros((5, 4), np.float32), np.zeros(5, int)
assert len(list(trainer.train(trainer.initial_weights(), [client] * 3, round_number=1, client_ids=range(3)))) == 3
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines() == ["begins", "trains", "trains", "trains"]


def test_statistics_move_by_the_rule_and_whole_numbers_stay() -> None:
    trainer = made(Drawing)
    names = [tensor.name for tensor in trainer.spec.tensors]
    assert names == [
        "hidden.weight",
        "hidden.bias",
        "output.weight",
        "output.bias",
        "statistics.weight",
        "statistics.bias",
        "statistics.running_mean",
        "statistics.running_var",
    ]
    trained = dict(zip(names, trainer.spec.unflatten(trainer.trainable.astype(np.float32)), strict=True))
    assert [name for name, part in trained.items() if not part.all()] == names[-2:]
    still = Federation(
        CLIENTS,
        TEST,
        Drawing,
        trainer="torch",
        lanes=1,
        server_optimizer=lambda update, state: (np.zeros_like(update), state),
    )
    before = still.weights
    list(still.rounds(1))
    moved = {name for name, old, new in zip(names, before, still.weights, strict=True) if not np.array_equal(old, new)}
    assert moved == set(names[-2:])


def test_tied_tensors_count_once_and_frozen_ones_do_not_move() -> None:
    trainer = made(Tied)
    names = [tensor.name for tensor in trainer.spec.tensors]
    assert names == ["first.weight", "first.bias", "second.bias", "enter.weight", "enter.bias"]
    parts = dict(zip(names, trainer.spec.unflatten(updates(trainer)[0]), strict=True))
    assert {name for name, part in parts.items() if not part.any()} == {"first.bias"}
    assert not trainer.trainable[100:110].any()
    assert trainer.trainable.sum() == trainer.spec.size - 10


def test_a_federation_learns_and_tells_all_figures() -> None:
    options: dict[str, Any] = {"clients": CLIENTS, "test": TEST, "model": plain, "trainer": "torch"}
    options |= {"local_epochs": 3, "learning_rate": 0.01}
    fed = Federation(**options, attack="backdoor", malicious=[0], lanes=2)
    results = list(fed.rounds(3))
    assert isinstance(fed.trainer, Classifier)
    assert results[-1].accuracy > 0.85
    assert len(results[-1].recall) == 10
    assert results[-1].attack_success_rate is not None
    again = Federation(**options, attack="backdoor", malicious=[0], loss="cross_entropy", lanes=1)
    assert [result.loss for result in again.rounds(3)] == [result.loss for result in results]


@pytest.mark.parametrize("optimizer", ["adam", "SGD", "adamw", lambda parameters: torch.optim.Adam(parameters, 0.01)])
def test_optimizers_by_name_and_by_function(optimizer: Any) -> None:
    reference = updates(made(optimizer=optimizer))
    assert np.abs(reference).max() > 0
    assert np.array_equal(updates(made(optimizer=optimizer)), reference)
    assert not np.array_equal(updates(made(optimizer=optimizer, learning_rate=0.5)), reference)


def test_batches_drawn_losses_of_ones_own_and_clients_without_samples() -> None:
    steps = updates(made(local_steps=5, batch_size=16))
    assert not np.array_equal(steps, updates(made(local_steps=4, batch_size=16)))

    def margin(logits: Any, labels: Any) -> Any:
        return functional.multi_margin_loss(logits, labels)

    named, own = (updates(made(loss=loss)) for loss in ("torch.nn.functional:multi_margin_loss", margin))
    assert np.array_equal(named, own)
    assert not np.array_equal(named, updates(made()))
    empty = DIGITS.x_train[:0], DIGITS.y_train[:0]
    assert not updates(made(), [empty, CLIENTS[0]])[0].any()
    assert not updates(made(), CLIENTS[:2], local_epochs=[0, 1])[0].any()


def test_samples_that_lie_backwards() -> None:
    trainer = made()
    for x, y in (CLIENTS[0], ((CLIENTS[0][0] * 15).astype(np.uint8), CLIENTS[0][1].astype(np.int32))):
        backwards = x[::-1].copy()[::-1], y[::-1].copy()[::-1]
        assert np.array_equal(updates(trainer, [backwards]), updates(trainer, [(x, y)]))
        assert np.array_equal(
            trainer.logits(trainer.initial_weights(), backwards[0]), trainer.logits(trainer.initial_weights(), x)
        )


def one_output() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


@pytest.mark.parametrize(
    ("loss", "num_classes", "expected"),
    [
        ("mean_squared_error", 0, lambda out, y: functional.mse_loss(out[:, 0], y)),
        ("torch.nn.functional:huber_loss", 0, lambda out, y: functional.huber_loss(out[:, 0], y)),
        ("binary_cross_entropy", 2, lambda out, y: functional.binary_cross_entropy_with_logits(out[:, 0], y)),
    ],
)
def test_losses_of_one_output_train_as_in_a_plain_loop(loss: str, num_classes: int, expected: Any) -> None:
    """And are measured likewise, on all samples."""
    settings = TrainingSettings(local_epochs=2, optimizer="sgd", learning_rate=0.05, loss=loss)
    trainer = make("torch", {}, Purpose(one_output, settings, (8, 8), num_classes, 3), lanes=1)
    x, y = DIGITS.x_train[:80], DIGITS.y_train[:80] % 2
    labels = y if num_classes else y.astype(np.float32)
    start = trainer.initial_weights()
    (update,) = trainer.train(start, [(x, labels)], round_number=2, client_ids=[5])
    module = one_output()
    with torch.no_grad():
        for parameter, first in zip(module.parameters(), trainer.spec.unflatten(start), strict=True):
            parameter.copy_(torch.tensor(first))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    samples, truth = torch.tensor(x), torch.tensor(y, dtype=torch.float32)
    for order in draws(3, 2, 5, 80, 2)[0]:
        for batch in torch.tensor(order).split(32):
            optimizer.zero_grad()
            expected(module(samples[batch]), truth[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        own = trainer.spec.flatten([parameter.numpy() for parameter in module.parameters()])
        measured = float(expected(module(samples), truth))
    assert np.abs(update).max() > 0.01
    assert np.abs(start + update - own).max() < 1e-5
    figures = trainer.evaluate(start + update, x, labels)
    assert figures["loss"] == pytest.approx(measured, rel=1e-4)
    assert ("accuracy" in figures) == bool(num_classes)


def words() -> Any:
    return nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(40, 2))


def test_whole_numbers_are_embedded() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 30, (400, 5))
    y = (x > 15).sum(axis=1) > 2
    clients = [(x[first:300:3], y[first:300:3].astype(int)) for first in range(3)]
    test = (x[300:], y[300:].astype(int))
    fed = Federation(clients, test, model=words, trainer="torch", local_epochs=5, learning_rate=0.02, lanes=2)
    *_, last = fed.rounds(4)
    assert last.accuracy > 0.75
    again = Federation(clients, test, model=words, trainer="torch", local_epochs=5, learning_rate=0.02, lanes=1)
    *_, same = again.rounds(4)
    assert same.loss == last.loss


def nothing_to_train() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10).requires_grad_(False))


def softmax() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(dim=1))


class Wide(nn.Module):  # type: ignore[misc, name-defined]
    """Of tensors of a type that is refused, which computes all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(64, 10, dtype=torch.float64)
        self.register_buffer("scale", torch.ones((), dtype=torch.bfloat16))
        self.register_buffer("seen", torch.zeros(3, dtype=torch.bool))

    def forward(self, x: Any) -> Any:
        return self.output(x.flatten(1).double()).float() * self.scale


def half() -> Any:
    return plain().half()


SHARED = plain()
ELSEWHERE = torch.optim.SGD(SHARED.parameters())


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("mlp", {}, "model is 'mlp'; allowed with trainer torch: package.module:function that returns a torch.nn"),
        (SHARED, {}, "model is a Sequential, but each core needs one of its own"),
        (f"{__name__}:SHARED", {}, "SHARED is a Sequential, but each core needs one of its own"),
        (half, {}, r"half has tensors that are not float32 on the processor: 1.weight \(float16\), 1.bias"),
        (lambda: SHARED, {"lanes": 2}, "returned the same module twice"),
        (lambda: 3, {}, "returned a int, not a torch.nn.Module"),
        (Wide, {}, r"scale \(bfloat16\), output.weight \(float64\), output.bias \(float64\); allowed: float32"),
        (softmax, {}, "ends in a softmax"),
        (nothing_to_train, {}, "has no parameter to train"),
        (lambda: nn.Flatten(), {}, r"returns \[2, 64\] for 2 samples; needed: \[2, 10\] logits"),
        (lambda: nn.Linear(3, 10), {}, "model <lambda> raised RuntimeError"),
        (plain, {"optimizer": "lbfgs"}, "optimizer is 'lbfgs'; allowed with trainer torch: .*adam, .*or package"),
        (plain, {"optimizer": lambda parameters: 3}, "returned a int; needed: a torch.optim.Optimizer"),
        (
            plain,
            {"optimizer": torch.optim.SGD(plain().parameters(), 0.1)},
            r"optimizer SGD \(.* lr: 0.1 .*\): must be a function",
        ),
        (
            plain,
            {"optimizer": lambda parameters: ELSEWHERE},
            "one that is in use, or of other parameters; needed: a new",
        ),
        (plain, {"optimizer": lambda parameters: torch.optim.SGD([torch.zeros(1)])}, "or of other parameters"),
        (
            plain,
            {"optimizer": "torch.optim:LBFGS"},
            "returned a LBFGS, whose step needs closure; needed: one that steps",
        ),
        (plain, {"optimizer": lambda parameters, rate: 3}, "needs rate; allowed: a function of 1 argument$"),
        (plain, {"loss": "hinge"}, "loss is 'hinge'; allowed: cross_entropy, binary_cross_entropy"),
        (plain, {"loss": lambda logits, labels: logits.detach().sum()}, "returned a number without a gradient; needed"),
        (plain, {"loss": lambda logits, labels: 3.0}, "loss <lambda> returned a float; needed: one"),
        (plain, {"arguments": {"names": "a.toml"}}, "trainer torch: does not take 'names'; allowed: no settings"),
    ],
)
def test_modules_that_cannot_be_trained_are_refused(model: Any, options: Any, message: str) -> None:
    with pytest.raises(FbflError, match=message) as caught:
        made(model, **options)
    assert caught.value.exit_status == 2
    assert not isinstance(caught.value, InvalidInputError) or "\n" not in str(caught.value)
