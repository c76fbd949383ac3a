"""Noisy sine waves of five frequencies, and a network that tells them apart."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

FREQUENCIES, LENGTH = 5, 32


class Net(nn.Module):
    """A convolution with batch normalization, whose statistics and counter are part of its state."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 8, 5)
        self.norm = nn.BatchNorm1d(8)
        self.output = nn.Linear(8 * (LENGTH - 4), FREQUENCIES)

    def forward(self, x):
        return self.output(torch.relu(self.norm(self.convolution(x))).flatten(1))


def waves(seed, count):
    """Return waves [count, 1, 32] and the numbers of their frequencies [count]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(FREQUENCIES, (count,), generator=generator)
    time = torch.arange(LENGTH) / LENGTH
    phase = torch.rand((count, 1), generator=generator)
    clean = torch.sin(2 * torch.pi * ((labels + 1)[:, None] * time + phase))
    return (clean + 0.3 * torch.randn((count, LENGTH), generator=generator))[:, None], labels


def train(net, x, y, epochs):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    net.train()
    total = 0.0
    for _ in range(epochs):
        for batch, labels in DataLoader(TensorDataset(x, y), batch_size=25, shuffle=True):
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(batch), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
    return total / (epochs * len(y))


def test(net, x, y):
    net.eval()
    with torch.no_grad():
        scores = net(x)
    return functional.cross_entropy(scores, y).item(), (scores.argmax(1) == y).float().mean().item()
