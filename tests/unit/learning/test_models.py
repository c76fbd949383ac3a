"""Models: fixed names and weights whatever else the process has built."""

import hashlib
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import models

keras = pytest.importorskip("keras")


def drawn_by_numpy(shape, dtype=None):
    return np.random.normal(size=shape)  # noqa: NPY002


def own_model():
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(16, kernel_initializer=drawn_by_numpy),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10),
        ]
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mlp", 784 * 128 + 128 + 128 * 10 + 10),
        ("2nn", 199_210),  # as McMahan et al. 2017 count
        ("cnn", 1_663_370),  # likewise
    ],
)
def test_named_models(name, parameters):
    model = models.build(name, seed=3)
    spec = models.spec_of(model)
    assert spec.size == parameters
    assert all(tensor.name.startswith(f"{name}/") for tensor in spec.tensors)
    assert model(np.zeros((2, 28, 28), np.float32)).shape == (2, 10)
    weights = models.weights_of(model)
    assert weights.dtype == np.float32
    assert np.array_equal(weights, models.weights_of(models.build(name, seed=3)))
    assert not np.array_equal(weights, models.weights_of(models.build(name, seed=4)))


def test_the_paper_s_dropout_is_there():
    (dropout,) = [layer for layer in models.build("mlp").layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout.rate == 0.2


def test_logits_not_probabilities():
    x = np.random.default_rng(0).random((50, 28, 28), np.float32)
    answers = np.asarray(models.build("mlp")(x))
    assert answers.min() < 0
    assert np.abs(answers.sum(axis=1) - 1).min() > 1e-3


def test_other_input_shapes():
    assert models.spec_of(models.build("mlp", input_shape=(8, 8), num_classes=4)).size == 65 * 128 + 129 * 4
    assert models.build("cnn", input_shape=(32, 32, 3))(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 10)
    for shape in ((64,), (128, 3), (3, 28), (2, 8, 8, 1), (3, 4, 9)):
        with pytest.raises(InvalidInputError, match="needs pictures of at least 4 x 4 pixels"):
            models.build("cnn", input_shape=shape)
    for shape in ((4, 4), (5, 7), (4, 4, 9)):
        assert models.build("cnn", input_shape=shape)(np.zeros((2, *shape), np.float32)).shape == (2, 10)


def test_the_cnn_answers_alike_wherever_the_channels_are():
    x = np.random.default_rng(0).random((2, 8, 9, 3), np.float32)
    last, first = models.build("cnn", input_shape=(8, 9, 3)), models.build("cnn", input_shape=(3, 8, 9))
    assert np.array_equal(last(x), first(np.moveaxis(x, 3, 1)))


def test_own_models_do_not_depend_on_what_was_built_before():
    first = models.build(own_model, seed=5)
    own_model()
    random.random()
    np.random.random()  # noqa: NPY002
    second = models.build(own_model, seed=5)
    assert models.spec_of(first) == models.spec_of(second)
    assert np.array_equal(models.weights_of(first), models.weights_of(second))
    names = [tensor.name for tensor in models.spec_of(first).tensors]
    assert "sequential/batch_normalization/moving_variance" in names
    assert "sequential/dense_2/kernel" in names
    assert not any("dense_3" in name for name in names)


def test_building_leaves_the_global_generators_alone():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    models.build(own_model, seed=5)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def test_the_same_weights_in_another_process():
    program = (
        "import keras; [keras.layers.Dense(3) for _ in range(7)]; "
        "from fbfl.learning import models; import hashlib; "
        "print(hashlib.sha256(models.weights_of(models.build('mlp', seed=9))).hexdigest())"
    )
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.strip() == hashlib.sha256(models.weights_of(models.build("mlp", seed=9))).hexdigest()


def test_importing_models_and_training_is_cheap():
    program = (
        "import fbfl.learning.models, fbfl.learning.training, sys; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_model_named_by_its_import_path(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import keras\ndef model(): return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert models.spec_of(models.build("mine:model")).size == 7850


def dense(*layers):
    return lambda: keras.Sequential([keras.layers.Flatten(), *[make() for make in layers]])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mpl", "model 'mpl': must be one of mlp, 2nn, cnn"),
        ("nowhere.at_all:model", "cannot import"),
        ("math:no_such_function", "has no function"),
        (lambda: 3, "returned a int"),
        (dense(lambda: keras.layers.Dense(7)), "7] per sample: needed are 10 logits"),
        (dense(lambda: keras.layers.Dense(10, activation="softmax")), "ends in a softmax"),
        (dense(lambda: keras.layers.Dense(10), keras.layers.Softmax), "ends in a softmax"),
        (lambda: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10, dtype="float64")]), "not float32"),
        (lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(10)]), r"refuses samples of the shape \(28"),
    ],
)
def test_models_that_cannot_work_say_why(model, message):
    with pytest.raises(InvalidInputError, match=message):
        models.build(model)


def test_tensorflow_is_loaded_in_silence_unless_that_fails():
    program = """
import hashlib
import os
from fbfl.learning import models
try:
    with models._without_notices():
        os.write(2, b"what C++ says first")
        raise OSError
except OSError:
    pass
models.load_tensorflow()
os.write(2, b", and what comes later")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "what C++ says first, and what comes later")


@pytest.mark.parametrize(("lean", "found"), [("1", False), ("0", True)])
def test_keras_finds_what_it_does_not_need_only_outside_of_the_command_line(lean: str, found: bool) -> None:
    program = """
import sys
from fbfl.learning import models
models.load_tensorflow()
import keras
found = ["matplotlib" in sys.modules, "sklearn" in sys.modules]
import matplotlib.pyplot, sklearn.base
keras.Sequential([keras.layers.Dense(1)])
print(found)
"""
    environment = {**os.environ, "FBFL_LEAN_KERAS": lean}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stdout) == (0, f"[{found}, {found}]\n"), done.stderr


def test_named_models_are_the_same_whatever_keras_json_says(tmp_path):
    folder = tmp_path / ".keras"
    folder.mkdir()
    (folder / "keras.json").write_text('{"image_data_format": "channels_first", "backend": "jax"}')
    program = """
import json, numpy as np
from fbfl.learning import models
x = np.random.default_rng(0).random((2, 8, 9)).astype(np.float32)
print(json.dumps([np.asarray(models.build(name, input_shape=(8, 9))(x)).tolist() for name in models.NAMES]))
"""
    environment = {**os.environ, "KERAS_HOME": str(folder), "KERAS_BACKEND": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    x = np.random.default_rng(0).random((2, 8, 9)).astype(np.float32)
    own = [np.asarray(models.build(name, input_shape=(8, 9))(x)) for name in models.NAMES]
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), own, atol=1e-5)


def test_another_backend_is_refused_before_it_is_imported():
    program = "import fbfl.learning.models as m\ntry: m.load_tensorflow()\nexcept m.InvalidInputError as e: print(e)"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout == "KERAS_BACKEND is 'jax': fbfl trains with TensorFlow; set KERAS_BACKEND=tensorflow\n"
