"""A node, by `NumPyClient`."""

from figures.task import digits, figures, model
from flwr.client import ClientApp, NumPyClient


class Node(NumPyClient):
    def __init__(self, alpha, partition, nodes):
        self.partition, self.alpha = partition, alpha
        x, y = digits(partition, nodes)
        held_out = len(y) // 5
        self.train, self.test = (x[held_out:], y[held_out:]), (x[:held_out], y[:held_out])

    def get_parameters(self, config):
        made = model(self.alpha)
        return [made.coef_, made.intercept_]

    def fit(self, parameters, config):
        made = model(self.alpha, seed=1000 * config["round"] + self.partition)
        made.coef_, made.intercept_ = parameters
        made.partial_fit(*self.train)
        return [made.coef_, made.intercept_], len(self.train[1]), {}

    def evaluate(self, parameters, config):
        made = model(self.alpha)
        made.coef_, made.intercept_ = parameters
        loss, accuracy = figures(made, *self.test)
        return loss, len(self.test[1]), {"local_accuracy": accuracy}


def client_fn(context):
    node = context.node_config
    alpha = context.run_config["penalty.alpha"]
    return Node(alpha, node["partition-id"], node["num-partitions"]).to_client()


app = ClientApp(client_fn)
