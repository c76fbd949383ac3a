"""What an update gives away: samples read off the change of a fully connected layer, without any search.

For a unit i of such a layer the gradient is ``dW_i = sum_k d_ik x_k`` and ``db_i = sum_k d_ik`` over the samples k of
a batch, so that dW_i / db_i is a mean of the inputs x_k, weighted by what the loss says to the unit of each. Of one
sample it is the sample itself, up to rounding, whatever the learning rate: Phong et al. 2018, "Privacy-Preserving Deep
Learning via Additively Homomorphic Encryption", section 3; Geiping et al. 2020, "Inverting Gradients - How easy is it
to break privacy in federated learning?", proposition 3.1. Of a batch, a unit that only one sample has switched on shows
that one.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def inverted(kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Floats:
    """Return a candidate for a sample per unit, float64 [units with a changed bias, inputs].

    `kernel` [inputs, units] and `bias` [units] are those parts of an update; the unit that changed most comes first, as
    its quotient is rounded least.
    """
    changed = np.flatnonzero(bias)
    order = changed[np.argsort(-np.abs(bias[changed]), kind="stable")]
    candidates: Floats = kernel[:, order].T.astype(np.float64) / bias[order, np.newaxis]
    return candidates


def nearest(candidates: Floats, samples: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return for each sample [k, inputs] the number of the candidate most like it, and their correlation, both [k].

    Whoever has no samples to compare with sees all candidates, and has to find out which are of use.
    """
    correlations = _standardised(samples.astype(np.float64)) @ _standardised(candidates).T
    best = correlations.argmax(axis=1)
    return best, correlations[np.arange(len(samples)), best]


def _standardised(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.sqrt((centred * centred).sum(axis=1, keepdims=True))
    scaled: Floats = centred / np.where(lengths > 0, lengths, 1.0)
    return scaled
