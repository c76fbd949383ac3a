"""Points around ten centres, and softmax regression on them."""

import numpy as np

CENTRES, WIDTH = 10, 16


def points(seed, count):
    """Return points [count, 16] and the numbers of their centres [count]."""
    centres = np.random.default_rng(0).normal(size=(CENTRES, WIDTH))
    rng = np.random.default_rng(seed)
    labels = rng.integers(CENTRES, size=count)
    return centres[labels] + rng.normal(scale=0.8, size=(count, WIDTH)), labels


def of_node(partition, test):
    """Return a node's own points: some have twice as many as others."""
    return points([1, partition, int(test)], 100 if test else 200 + 100 * (partition % 3))


def probabilities(arrays, x):
    weights, bias = arrays
    scores = x @ weights + bias
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def descend(arrays, x, y, lr, steps):
    """Return the arrays after some steps, each on half of the samples, which NumPy's global generator draws."""
    weights, bias = (array.copy() for array in arrays)
    for _ in range(steps):
        batch = np.random.permutation(len(y))[: len(y) // 2]
        error = probabilities((weights, bias), x[batch])
        error[np.arange(len(batch)), y[batch]] -= 1
        weights -= (lr * x[batch].T @ error / len(batch)).astype(np.float32)
        bias -= (lr * error.mean(axis=0)).astype(np.float32)
    return [weights, bias]


def figures(arrays, x, y):
    found = probabilities(arrays, x)
    return float(np.mean(found.argmax(axis=1) == y)), float(-np.log(found[np.arange(len(y)), y] + 1e-12).mean())
