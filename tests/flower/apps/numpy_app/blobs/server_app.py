"""The server: the strategy that the configuration names, from weights of zero."""

import numpy as np
from blobs.task import CENTRES, WIDTH
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp, strategy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    chosen = getattr(strategy, config["strategy"])(min_train_nodes=2, min_evaluate_nodes=2)
    first = [np.zeros((WIDTH, CENTRES), np.float32), np.zeros(CENTRES, np.float32)]
    result = chosen.start(grid=grid, initial_arrays=ArrayRecord(first), num_rounds=config["num-server-rounds"])
    print(result.evaluate_metrics_clientapp)
