"""A node: trains and evaluates on points of its own."""

from blobs.task import descend, figures, of_node
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    config = context.run_config
    x, y = of_node(context.node_config["partition-id"], test=False)
    arrays = descend(message.content["arrays"].to_numpy_ndarrays(), x, y, config["lr"], config["steps"])
    _, loss = figures(arrays, x, y)
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(y)})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    x, y = of_node(context.node_config["partition-id"], test=True)
    accuracy, loss = figures(message.content["arrays"].to_numpy_ndarrays(), x, y)
    metrics = MetricRecord({"accuracy": accuracy, "loss": loss, "num-examples": len(y)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
