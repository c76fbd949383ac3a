"""Aggregation rules: pure functions from updates, float32 [n, P], to one update, float32 [P].

The arithmetic is canonical: the same inputs give the same bytes on every machine, whatever the processor, the number
of threads and the BLAS library, so that servers that recompute an aggregate can vote on its hash. Ties are broken by
the lowest row everywhere. NaN and Inf are refused by naming the clients (`NonFiniteUpdateError.clients`).

``krum(updates, f)`` returns the vector; ``krum.aggregate(updates, f)`` also which clients were selected and the state
for the next round; ``resolve("krum", num_byzantine=f)`` gives a rule that every caller calls the same way.
"""

from fbfl.learning.aggregation.averages import StreamingFedAvg, fedavg, streaming_fedavg
from fbfl.learning.aggregation.centres import centered_clipping, geometric_median, norm_clipping
from fbfl.learning.aggregation.clusters import flame
from fbfl.learning.aggregation.coordinates import median, trimmed_mean
from fbfl.learning.aggregation.filters import dnc, random_selection, signguard
from fbfl.learning.aggregation.lookup import AggregationRule, resolve
from fbfl.learning.aggregation.mixing import nearest_neighbour_mixing
from fbfl.learning.aggregation.nearest import bulyan, krum, multi_krum
from fbfl.learning.aggregation.prediction import fldetector
from fbfl.learning.aggregation.rule_function import RULES, Aggregate, State, rule, version_of
from fbfl.learning.aggregation.trust import fltrust, foolsgold

__all__ = [
    "RULES",
    "Aggregate",
    "AggregationRule",
    "State",
    "StreamingFedAvg",
    "bulyan",
    "centered_clipping",
    "dnc",
    "fedavg",
    "flame",
    "fldetector",
    "fltrust",
    "foolsgold",
    "geometric_median",
    "krum",
    "median",
    "multi_krum",
    "nearest_neighbour_mixing",
    "norm_clipping",
    "random_selection",
    "resolve",
    "rule",
    "signguard",
    "streaming_fedavg",
    "trimmed_mean",
    "version_of",
]
