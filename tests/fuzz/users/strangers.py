"""Functions as users may hand them in: such that do their work, that answer something else, and that raise.

Found by the first word of their names, see `tests.fuzz.strategies.functions_of`. All draw nothing at random.
"""

import numpy as np


class OfTheirOwnError(Exception):
    pass


def _raise(*_, **__):
    raise OfTheirOwnError("first line\nsecond line")


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


def rule_raises(updates):
    _raise()


def rule_canonical_raises(updates):
    _raise()


rule_canonical_raises.canonical = True


def rule_raises_later(updates, round_number):
    return updates[0] if round_number < 2 else _raise()


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


def attack_raises(x, y, rng):
    _raise()


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


def attack_raises_update(honest, own, rng):
    _raise()


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


def partition_raises(labels, num_clients):
    _raise()


# Models. What a user knows of the data stands here as numbers; `classes` and `shape` are set by who plays.

classes = 3


def _sequential(*layers):
    import keras

    return keras.Sequential([keras.layers.Flatten(), *layers])


def model_small():
    import keras

    return _sequential(keras.layers.Dense(classes))


def model_batch_norm():
    import keras

    return _sequential(keras.layers.BatchNormalization(), keras.layers.Dense(classes))


def model_dropout():
    import keras

    return _sequential(keras.layers.Dropout(0.5), keras.layers.GaussianNoise(0.1), keras.layers.Dense(classes))


def model_regularised():
    import keras

    return _sequential(keras.layers.Dense(classes, kernel_regularizer="l2", bias_constraint="non_neg"))


def model_half():
    import keras

    half = keras.layers.Dense(4, dtype="float16", kernel_regularizer="l1")
    return _sequential(half, keras.layers.Dense(classes))


def model_names():
    import keras

    return _sequential(
        keras.layers.Dense(4, name="state.scale.weights"),
        keras.layers.Dense(classes, name="scale.output"),
        keras.layers.Dense(classes, name="ausgänge [b] $x"),
    )


def model_names_that_payloads_use():
    import keras

    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(classes, name="out")], name="state.model")


def model_infinite_weights():
    import keras

    return _sequential(keras.layers.Dense(classes, bias_initializer=keras.initializers.Constant(np.inf)))


def model_of_logarithms():
    import keras

    return _sequential(keras.layers.Lambda(keras.ops.log), keras.layers.Dense(classes))


def model_softmax():
    import keras

    return _sequential(keras.layers.Dense(classes), keras.layers.Lambda(keras.ops.softmax))


def model_one_class():
    import keras

    return _sequential(keras.layers.Dense(1))


def model_two_answers():
    import keras

    x = keras.Input((4, 4))
    flat = keras.layers.Flatten()(x)
    return keras.Model(x, [keras.layers.Dense(classes)(flat), keras.layers.Dense(classes)(flat)])


def model_without_weights():
    import keras

    return _sequential(keras.layers.Lambda(lambda x: x[:, :classes]))


def model_frozen():
    import keras

    model = model_small()
    model.trainable = False
    return keras.Sequential([model])


def model_compiled():
    model = model_small()
    model.compile("sgd", "mse")
    return model


def model_layer():
    import keras

    return keras.layers.Dense(classes)


def model_none():
    return None


def model_raises():
    _raise()


def model_needs(units):
    return units


# Optimizers, and learning rates.


def optimizer_nesterov():
    import keras

    return keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)


def optimizer_averaging():
    import keras

    return keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=1)


def optimizer_clipping():
    import keras

    return keras.optimizers.RMSprop(global_clipnorm=0.1, weight_decay=0.01)


def optimizer_accumulating():
    import keras

    return keras.optimizers.SGD(gradient_accumulation_steps=2)


def optimizer_schedule():
    import keras

    return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5))


def optimizer_wrapped():
    import keras

    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())


def optimizer_wrong():
    import keras

    return keras.optimizers.SGD(momentum=2)


def optimizer_none():
    return None


def optimizer_raises():
    _raise()


def rate_falling(round_number):
    return 0.1 / round_number


def rate_nan(round_number):
    return float("nan")


def rate_negative(round_number):
    return -0.1


def rate_text(round_number):
    return "0.1"


def rate_none(round_number):
    return None


def rate_raises(round_number):
    _raise()


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


def server_raises(update, state):
    _raise()


# Mobility and radio.


def mobility_of_one_cell(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (0.0, 0.0), Grid(1.0, 1.0, servers, 1), 60.0, 2)


def mobility_outside(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (-5.0, 9.0), Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_nowhere(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (float("nan"), 0.0), Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_no_position(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: None, Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_lost(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(_raise, Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_few_cells(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (0.0, 0.0), Grid(1.0, 1.0, servers + 1, 1), 60.0, 1)


def mobility_none(servers):
    return None


def mobility_raises(servers):
    _raise()


def _cost_model(distance, **more):
    from fbfl.mec.radio import CostModel, Processor, Radio

    return CostModel(Radio(), lambda seed, server: Processor(), distance, **more)


def radio_near():
    return _cost_model(lambda seed, device: 1.0)


def radio_late():
    return _cost_model(lambda seed, device: 1.0, round_deadline=1e-9)


def radio_nan():
    return _cost_model(lambda seed, device: float("nan"))


def radio_far():
    return _cost_model(lambda seed, device: 1e300)


def radio_no_distance():
    return _cost_model(lambda seed, device: None)


def radio_lost():
    return _cost_model(_raise)


def radio_no_processor():
    from fbfl.mec.radio import CostModel, Radio

    return CostModel(Radio(), lambda seed, server: None, lambda seed, device: 1.0)


def radio_none():
    return None


def radio_raises():
    _raise()
