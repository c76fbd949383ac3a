"""Flower's simulation on Ray with Keras clients, after its own TensorFlow quickstart: a new model for every client.

As `flower_kept` every worker keeps its model instead: a round of 1,000 clients takes a quarter of an hour otherwise.
"""

import sys
import time
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

sys.path.insert(0, str(Path(__file__).parent))
from keras_models import compiled, reusable
from rounds import asked, load, say

MODEL, CLIENTS, SAMPLES, DATA = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
KEPT = sys.argv[6] == "flower_kept"


client = ClientApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    if KEPT:
        model, optimizer_state = reusable(MODEL)
        for variable, value in zip(model.optimizer.variables, optimizer_state, strict=True):
            variable.assign(value)
    else:
        model = compiled(MODEL)
    model.set_weights(message.content["arrays"].to_numpy_ndarrays())
    x, y = load(CLIENTS, SAMPLES, DATA)[0][context.node_config["partition-id"]]
    model.fit(x, y, batch_size=32, epochs=1, verbose=0)
    content = RecordDict(
        {"arrays": ArrayRecord(model.get_weights()), "metrics": MetricRecord({"num-examples": len(y)})}
    )
    return Message(content=content, reply_to=message)


class Timed(FedAvg):
    """Waits for the request before a round, and tells what the round took."""

    def configure_train(self, *args: Any) -> Any:
        if not asked():
            raise KeyboardInterrupt
        self.start = time.perf_counter()
        return super().configure_train(*args)

    def aggregate_train(self, *args: Any) -> Any:
        arrays, metrics = super().aggregate_train(*args)
        say(seconds=time.perf_counter() - self.start)
        model, _ = reusable(MODEL)
        model.set_weights(arrays.to_numpy_ndarrays())
        x, y = load(CLIENTS, SAMPLES, DATA)[1]
        say(accuracy=float((model.predict(x, batch_size=1000, verbose=0).argmax(axis=1) == y).mean()))
        return arrays, metrics


server = ServerApp()


@server.main()
def main(grid: Grid, _: Context) -> None:
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=CLIENTS, min_available_nodes=CLIENTS)
    say(ready=True)
    strategy.start(grid=grid, initial_arrays=ArrayRecord(reusable(MODEL)[0].get_weights()), num_rounds=int(sys.argv[5]))


run_simulation(server, client, CLIENTS, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}})
