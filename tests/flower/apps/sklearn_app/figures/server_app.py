"""The server: averages, and evaluates on digits that no node has."""

from figures.task import figures, model, test_digits
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg


def server_fn(context):
    alpha = context.run_config["penalty.alpha"]

    def evaluate(server_round, parameters, config):
        made = model(alpha)
        made.coef_, made.intercept_ = parameters
        loss, accuracy = figures(made, *test_digits())
        return loss, {"accuracy": accuracy}

    strategy = FedAvg(evaluate_fn=evaluate, on_fit_config_fn=lambda server_round: {"round": server_round})
    return ServerAppComponents(
        strategy=strategy, config=ServerConfig(num_rounds=context.run_config["num-server-rounds"])
    )


app = ServerApp(server_fn=server_fn)
