"""What a round would cost on the air and in the servers: seconds and joules, from physical quantities in SI units.

Path loss: log-distance, Rappaport 2002, "Wireless Communications", section 4.9.1. Rate: Shannon 1949, "Communication in
the Presence of Noise". Energy of an upload, and computing time from cycles per sample: Tran et al. 2019, "Federated
Learning over Wireless Networks: Optimization Model Design and Analysis".
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Upload:
    """What a device uploads in a round."""

    server: int
    distance: float
    """Metres to the server."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Radio:
    """The link of a device to its server. Every device has a channel of its own; there is no interference."""

    bandwidth: float = 1e6
    """Hertz."""
    power: float = 0.1
    """Watts that a device transmits with."""
    noise: float = 10 ** (-204 / 10)
    """Watts per hertz: thermal noise at 290 K, -174 dBm/Hz."""
    loss_at_reference: float = 40.0
    """Decibels lost over the first metre; free space at 2.4 GHz."""
    exponent: float = 3.0
    """Of the path loss: 2 in free space, 2.7 to 3.5 in a town."""

    def rate(self, distance: float) -> float:
        """Bits per second over `distance` metres; nearer than the reference, 1 m, counts as 1 m."""
        loss = self.loss_at_reference + 10 * self.exponent * math.log10(max(distance, 1.0))
        received = self.power * 10 ** (-loss / 10)
        return self.bandwidth * math.log2(1 + received / (self.noise * self.bandwidth))

    def seconds(self, upload: Upload) -> float:
        """How long an upload takes."""
        return 8 * upload.size / self.rate(upload.distance)

    def joules(self, upload: Upload) -> float:
        """What an upload costs the device: its transmission power over that time."""
        return self.power * self.seconds(upload)


@dataclass(frozen=True)
class Processor:
    """What a server computes with."""

    cycles_per_sample: float = 1e7
    """Of one pass over one sample."""
    frequency: float = 2e9
    """Cycles per second."""

    def seconds(self, samples: int, epochs: int) -> float:
        """How long local training takes."""
        return self.cycles_per_sample * samples * epochs / self.frequency


def round_cost(
    radio: Radio, processor: Processor, uploads: Iterable[Upload], samples: Mapping[int, int], epochs: int
) -> tuple[float, float]:
    """Seconds until the last server has trained, and joules that all devices spend on uploading.

    A server starts to train on its `samples` when the last of its devices has uploaded. The consensus and the traffic
    between servers, which are wired, are not counted.
    """
    waits: dict[int, float] = {}
    joules = 0.0
    for upload in uploads:
        waits[upload.server] = max(waits.get(upload.server, 0.0), radio.seconds(upload))
        joules += radio.joules(upload)
    servers = waits.keys() | samples.keys()
    over = (waits.get(server, 0.0) + processor.seconds(samples.get(server, 0), epochs) for server in servers)
    return max(over, default=0.0), joules
