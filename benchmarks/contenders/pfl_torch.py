"""pfl's simulated backend with PyTorch, after its own tutorials, on one process (it spreads over machines by Horovod).

One thread per operation: with PyTorch's default of all cores these small layers are no faster.
"""

import sys
import time
from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from rounds import arguments, asked, say
from torch_models import build


class Net(torch.nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.layers = build(name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

    def loss(self, x: torch.Tensor, y: torch.Tensor, is_eval: bool = False) -> torch.Tensor:
        self.train(not is_eval)
        return torch.nn.functional.cross_entropy(self(x), y)

    @torch.no_grad()
    def metrics(self, x: torch.Tensor, y: torch.Tensor, is_eval: bool = True) -> dict[str, Any]:
        return {"loss": Weighted(self.loss(x, y, is_eval).item() * len(y), len(y))}


class Rounds(TrainingProcessCallback):
    """Tells what a round took and waits for the next request."""

    def __init__(self, test: tuple[Any, Any]) -> None:
        self.test = torch.from_numpy(test[0]), torch.from_numpy(test[1])
        self.start = time.perf_counter()

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> Any:
        del aggregate_metrics, central_iteration
        say(seconds=time.perf_counter() - self.start)
        net = model.pytorch_model.eval()
        with torch.no_grad():
            accuracy = (net(self.test[0]).argmax(1) == self.test[1]).float().mean().item()
        say(accuracy=accuracy)
        proceed = asked()
        self.start = time.perf_counter()
        return not proceed, Metrics()


def main() -> None:
    name, clients, test = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    users = {
        str(number): Dataset((torch.from_numpy(x), torch.from_numpy(y.astype("int64"))), user_id=str(number))
        for number, (x, y) in enumerate(clients)
    }
    data = FederatedDataset(users.__getitem__, get_user_sampler("minimize_reuse", list(users)))
    net = Net(name)
    model = PyTorchModel(net, torch.optim.Adam, torch.optim.SGD(net.parameters(), lr=1.0))
    rounds = int(sys.argv[5])
    say(ready=True)
    asked()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds + 1,
            evaluation_frequency=10**9,
            train_cohort_size=len(clients),
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(data, data),
        model=model,
        model_train_params=NNTrainHyperParams(local_num_epochs=1, local_learning_rate=0.001, local_batch_size=32),
        model_eval_params=NNEvalHyperParams(local_batch_size=1000),
        callbacks=[Rounds((test[0], test[1].astype("int64")))],
    )


main()
