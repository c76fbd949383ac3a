"""Models, optimizers and learning rates of users: right ones, ones that answer something else, and ones that raise.

Found by the first word of their names, see `tests.fuzz.strategies.functions_of`. All draw nothing at random.
"""

import numpy as np

from tests.fuzz.users.raising import fail

# Models. What a user knows of the data stands here as a number.

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


def modelfails():
    fail()


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


def optimizerfails():
    fail()


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


def metric_top_two(scores, labels):
    return (np.argsort(scores)[:, -2:] == labels[:, None]).any(axis=1).mean()


def metric_nan(scores, labels):
    return float("nan")


def metric_none(scores, labels):
    return None


def metric_text(scores, labels):
    return "much"


def metric_array(scores, labels):
    return scores


def metric_alone(scores):
    return 1.0


def metricfails(scores, labels):
    fail()


def schedule_halving(round_number, learning_rate):
    return learning_rate / 2**round_number


def schedule_warm(round_number, learning_rate, *, rounds=3):
    return learning_rate * min(1, round_number / rounds)


def schedule_nan(round_number, learning_rate):
    return float("nan")


def schedule_negative(round_number, learning_rate):
    return -learning_rate


def schedule_none(round_number, learning_rate):
    return None


def schedule_text(round_number, learning_rate):
    return f"{learning_rate}"


def schedule_later(round_number, learning_rate):
    return learning_rate if round_number < 2 else [learning_rate]


def schedule_alone(round_number):
    return 0.1


def schedulefails(round_number, learning_rate):
    fail()


def ratefails(round_number):
    fail()
