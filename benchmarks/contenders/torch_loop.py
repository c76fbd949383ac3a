"""A plain loop with PyTorch, as its tutorials write it, with one thread."""

import torch
from rounds import arguments, serve, timed
from torch.nn.functional import cross_entropy
from torch_models import build


def main() -> None:
    name, clients, test = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = build(name)
    data = [(torch.from_numpy(x), torch.from_numpy(y.astype("int64"))) for x, y in clients]
    x_test, y_test = torch.from_numpy(test[0]), torch.from_numpy(test[1].astype("int64"))
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    def play() -> None:
        module.train()
        total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        for x, y in data:
            module.load_state_dict(weights)
            optimizer = torch.optim.Adam(module.parameters())
            for batch in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                cross_entropy(module(x[batch]), y[batch]).backward()
                optimizer.step()
            for name, tensor in module.state_dict().items():
                total[name] += tensor / len(data)
        weights.update(total)

    def accuracy() -> float:
        module.load_state_dict(weights)
        module.eval()
        with torch.no_grad():
            return float((module(x_test).argmax(1) == y_test).float().mean())

    serve(timed(play), accuracy)


main()
