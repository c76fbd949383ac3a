"""The benchmark's models as modules of PyTorch."""

import torch
from rounds import LAYERS


def build(name: str) -> torch.nn.Module:
    sizes = (784, *LAYERS[name])
    layers: list[torch.nn.Module] = [torch.nn.Flatten()]
    for number, units in enumerate(sizes[1:]):
        layers += [torch.nn.Linear(sizes[number], units), torch.nn.ReLU()]
    if name == "mlp":
        layers.append(torch.nn.Dropout(0.2))
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 10))
