"""Aggregation rules: pure functions from updates, float32 [n, P], to one update, float32 [P].

The arithmetic is canonical: the same inputs give the same bytes on every machine, whatever the processor, the number
of threads and the BLAS library, so that servers that recompute an aggregate can vote on its hash. Ties are broken by
the lowest row everywhere. NaN and Inf are refused by naming the clients (`NonFiniteUpdateError.clients`).
"""

from fbfl.learning.aggregation.averages import StreamingFedAvg, fedavg, streaming_fedavg
from fbfl.learning.aggregation.rule import Aggregate, State, rule

__all__ = ["Aggregate", "State", "StreamingFedAvg", "fedavg", "rule", "streaming_fedavg"]
