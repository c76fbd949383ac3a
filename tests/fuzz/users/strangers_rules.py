"""Functions on updates and samples of users: right ones, ones that answer something else, and ones that raise.

Found by the first word of their names, see `tests.fuzz.strategies.functions_of`. All draw nothing at random.
"""

import numpy as np

from tests.fuzz.users.raising import fail

# Aggregation rules: updates [n, P] -> [P] or an Aggregate.


def rule_mean(updates):
    return updates.mean(axis=0)


def rule_canonical(updates):
    return np.add.reduce(updates.astype(np.float64), axis=0) / len(updates)


rule_canonical.canonical = True


def rule_canonical_state(updates, state, clients, round_number):
    from fbfl.learning.aggregation import Aggregate

    both = np.stack([updates[0], updates[-1]], axis=1)
    return Aggregate(both[:, 0], {"last": both[:, 1], "turned": both.T[:2]}, (0,))


rule_canonical_state.canonical = True


def rule_scalar_state(updates, state):
    from fbfl.learning.aggregation import Aggregate

    return Aggregate(updates[0], {"count": state.get("count", 0.0) + 1.0})


def rule_text_state(updates, state):
    from fbfl.learning.aggregation import Aggregate

    return Aggregate(updates[0], {"round": "first"})


def rule_odd_selected(updates):
    from fbfl.learning.aggregation import Aggregate

    return Aggregate(updates[0], selected=(len(updates),))


def rule_changes_updates(updates):
    updates *= 0
    return updates[0]


def rule_nan(updates):
    return np.full(updates.shape[1], np.nan)


def rule_inf(updates):
    return np.full(updates.shape[1], np.inf)


def rule_canonical_nan(updates):
    return np.full(updates.shape[1], np.nan)


rule_canonical_nan.canonical = True


def rule_huge(updates):
    return np.full(updates.shape[1], 3e38)


def rule_short(updates):
    return updates[0][:-1]


def rule_matrix(updates):
    return updates


def rule_none(updates):
    return None


def rule_text(updates):
    return "mean"


def rule_complex(updates):
    return updates[0] * 1j


def rulefails(updates):
    fail()


def rule_canonicalfails(updates):
    fail()


rule_canonicalfails.canonical = True


def rulefails_later(updates, round_number):
    return updates[0] if round_number < 2 else fail()


def rule_needs(updates, strength):
    return updates[0] * strength


# Attacks.


def attack_blind(x, y, rng):
    return np.zeros_like(x), y


def attack_no_samples(x, y, rng):
    return x[:0], y[:0]


def attack_more_samples(x, y, rng):
    return np.concatenate([x, x]), np.concatenate([y, y])


def attack_in_place(x, y, rng):
    x[:] = 0
    y[:] = 0
    return x, y


def attack_other_type(x, y, rng):
    return x.astype(np.float64), y.astype(np.uint8)


def attack_nan_samples(x, y, rng):
    return np.full(x.shape, np.nan, np.float32), y


def attack_other_shape(x, y, rng):
    return x.reshape(len(x), -1), y


def attack_other_labels(x, y, rng):
    return x, y + 1000


def attack_negative_labels(x, y, rng):
    return x, y - 1


def attack_float_labels(x, y, rng):
    return x, y + 0.5


def attack_lists(x, y, rng):
    return x.tolist(), y.tolist()


def attack_half(x, y, rng):
    return x


def attack_none(x, y, rng):
    return None


def attackfails(x, y, rng):
    fail()


def attack_opposite(honest, own, rng):
    return -own


def attack_of_honest(honest, own, rng):
    return honest[0]


def attack_of_everybody(everybody, own, rng, round_number):
    return everybody.mean(axis=0) * round_number


def attack_of_compromised(compromised, own, rng, attacker):
    return compromised[attacker]


def attack_changes_own(honest, own, rng):
    own *= 2
    honest *= 0
    return own


def attack_nan_update(honest, own, rng):
    return np.full(own.shape, np.nan)


def attack_huge_update(honest, own, rng):
    return np.full(own.shape, 1e300)


def attack_short_update(honest, own, rng):
    return own[:-1]


def attack_none_update(honest, own, rng):
    return None


def attack_text_update(honest, own, rng):
    return "own"


def attackfails_update(honest, own, rng):
    fail()


def attack_strange_names(one, two, three):
    return two


# Partitions: (labels, num_clients, seed) -> sample numbers of each client.


def partition_by_turns(labels, num_clients):
    return [np.arange(client, len(labels), num_clients) for client in range(num_clients)]


def partition_first_takes_all(labels, num_clients, seed):
    return [np.arange(len(labels)), *[np.zeros(0, np.int64)] * (num_clients - 1)]


def partition_empty_lists(labels, num_clients):
    return [[] for _ in range(num_clients)]


def partition_lists(labels, num_clients):
    return [list(range(client, len(labels), num_clients)) for client in range(num_clients)]


def partition_same_for_all(labels, num_clients):
    return [np.arange(len(labels))] * num_clients


def partition_too_few(labels, num_clients):
    return [np.arange(len(labels))] * (num_clients - 1)


def partition_out_of_range(labels, num_clients):
    return [np.arange(len(labels)) + 1] * num_clients


def partition_negative(labels, num_clients):
    return [np.array([-1])] * num_clients


def partition_floats(labels, num_clients):
    return [np.array([0.5])] * num_clients


def partition_masks(labels, num_clients):
    return [np.arange(len(labels)) % num_clients == client for client in range(num_clients)]


def partition_matrix(labels, num_clients):
    return np.zeros((num_clients, 1, 1), np.int64)


def partition_none(labels, num_clients):
    return None


def partition_text(labels, num_clients):
    return "ab"


def partitionfails(labels, num_clients):
    fail()


# Server optimizers: (update, state) -> (step, state).


def server_half(update, state):
    return update / 2, {}


def server_counts(update, state):
    return update, {"count": np.asarray(state.get("count", np.zeros(3, np.float32))[::-1] + 1)}


def server_turned(update, state):
    both = np.stack([update, update], axis=1)
    return both[:, 0], {"turned": both[:, 1], "square": both.T}


def server_double(update, state):
    return update.astype(np.float64), {"sum": update.astype(np.float64)}


def server_scalar_state(update, state):
    return update, {"number": 3.0}


def server_row(update, state):
    return update[np.newaxis], {}


def server_nan(update, state):
    return update * np.nan, {}


def server_huge(update, state):
    return np.full(update.shape, 1e300), {}


def server_only_step(update, state):
    return update


def server_none(update, state):
    return None


def server_text(update, state):
    return "step", "state"


def server_no_state(update, state):
    return update, None


def server_changes_update(update, state):
    update *= 0
    return update, state


def serverfails(update, state):
    fail()


for function in [function for name, function in dict(vars()).items() if name.startswith("server")][::2]:
    function.canonical = True  # so that it may step the models of tasks on a chain
