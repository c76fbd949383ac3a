"""Updates and samples, and what attacks make of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.learning import attacks

N, F, SIZE = 20, 4, 300
REQUIRED = {"targeted_label_flipping": {"source": 3, "target": 5}}


def honest_updates(seed: int = 0, m: int = N - F) -> npt.NDArray[Any]:
    return (np.random.default_rng(seed).normal(size=(m, SIZE)) * 0.1 + 0.03).astype(np.float32)


def send(
    name: Callable[..., Any] | str,
    known: npt.NDArray[Any],
    own: npt.NDArray[Any] | None = None,
    seed: int = 0,
    num_clients: int = N,
    num_byzantine: int = F,
    **settings: Any,
) -> npt.NDArray[Any]:
    own = known[0] if own is None else own
    attack = attacks.resolve(name, **settings)
    return attack.poison_update(
        known, own, np.random.default_rng(seed), num_clients=num_clients, num_byzantine=num_byzantine
    )


def samples(dtype: type[Any] = np.uint8, size: int = 400, seed: int = 0) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    rng = np.random.default_rng(seed)
    x = rng.random((size, 28, 28)) * (200 if dtype == np.uint8 else 0.8)
    return x.astype(dtype), (np.arange(size) % 10).astype(np.uint8)


def poison(
    name: str,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    seed: int = 0,
    attacker: int = 0,
    **settings: Any,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    attack = attacks.resolve(name, **{**REQUIRED.get(name, {}), **settings})
    return attack.poison_data(x, y, np.random.default_rng(seed), num_byzantine=F, attacker=attacker)


def kinds(kind: Any) -> Any:
    return [n for n in attacks.ATTACKS if attacks.resolve(n, **REQUIRED.get(n, {})).traits.kind == kind]
