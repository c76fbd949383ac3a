"""Updates and samples, and what attacks make of them."""

import numpy as np

from fbfl.learning import attacks

N, F, SIZE = 20, 4, 300
REQUIRED = {"targeted_label_flipping": {"source": 3, "target": 5}}


def honest_updates(seed=0, m=N - F):
    return (np.random.default_rng(seed).normal(size=(m, SIZE)) * 0.1 + 0.03).astype(np.float32)


def send(name, known, own=None, seed=0, num_clients=N, num_byzantine=F, **settings):
    own = known[0] if own is None else own
    attack = attacks.resolve(name, **settings)
    return attack.poison_update(
        known, own, np.random.default_rng(seed), num_clients=num_clients, num_byzantine=num_byzantine
    )


def samples(dtype=np.uint8, size=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((size, 28, 28)) * (200 if dtype == np.uint8 else 0.8)
    return x.astype(dtype), (np.arange(size) % 10).astype(np.uint8)


def poison(name, x, y, seed=0, attacker=0, **settings):
    attack = attacks.resolve(name, **{**REQUIRED.get(name, {}), **settings})
    return attack.poison_data(x, y, np.random.default_rng(seed), num_byzantine=F, attacker=attacker)


def kinds(kind):
    return [n for n in attacks.ATTACKS if attacks.resolve(n, **REQUIRED.get(n, {})).kind == kind]
