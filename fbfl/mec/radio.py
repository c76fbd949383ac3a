"""The cost of a round on the air and in the servers, and the devices and servers that miss it. SI units throughout.

Path loss: log-distance, Rappaport 2002, "Wireless Communications", section 4.9.1. Rate: Shannon 1949, "Communication in
the Presence of Noise". Energy of an upload, and computing time from cycles per sample: Tran et al. 2019, "Federated
Learning over Wireless Networks: Optimization Model Design and Analysis". Deadlines, and leaving out who does not meet
them: Nishio & Yonetani 2019, "Client Selection for Federated Learning with Heterogeneous Resources in Mobile Edge".
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fbfl.errors import InvalidInputError, require
from fbfl.learning import plugins
from fbfl.randomness import generator

_MOST_DECIBELS = 1000
"""Bound on decibels: beyond it a power does not fit into a float."""


@dataclass(frozen=True)
class Upload:
    """The upload of a device in a round."""

    server: int
    distance: float
    """Metres to the server."""
    size: int
    """Bytes that arrived."""
    late: bool = False
    """True if the deadline cut it off: the device was sending until then."""


@dataclass(frozen=True)
class RoundCost:
    """Time and energy of a round."""

    seconds: float
    """Seconds until the last server had trained, or until the deadline."""
    joules: float
    """Joules spent by all devices on uploading."""
    late_devices: int
    """Number of devices whose upload the deadline cut off."""
    late_servers: frozenset[int]
    """Servers that would have trained until after the deadline."""


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
    """Exponent of the path loss: 2 in free space, 2.7 to 3.5 in a town."""

    def __post_init__(self) -> None:
        for name in ("bandwidth", "power", "noise", "exponent"):
            _positive(name, getattr(self, name))
        if not -_MOST_DECIBELS <= self.loss_at_reference <= _MOST_DECIBELS:
            raise InvalidInputError(
                f"radio: loss_at_reference is {self.loss_at_reference}; allowed: -{_MOST_DECIBELS} to {_MOST_DECIBELS} "
                "decibels"
            )
        require(self.noise * self.bandwidth != 0, "radio: noise", self.noise, "more, with this bandwidth")

    def rate(self, distance: float) -> float:
        """Return the bits per second over `distance` metres; less than the reference, 1 m, counts as 1 m.

        If nothing arrives at all it raises `InvalidInputError`.
        """
        loss = self.loss_at_reference + 10 * self.exponent * math.log10(max(distance, 1.0))
        received = self.power * 10 ** (-loss / 10)
        # log1p: far away, the ratio of signal to noise is lost in 1 + ratio.
        rate = self.bandwidth * math.log1p(received / (self.noise * self.bandwidth)) / math.log(2)
        if rate <= 0:
            raise InvalidInputError(f"radio: nothing arrives over {distance:g} m with this power and path loss")
        return rate

    def seconds(self, distance: float, size: int) -> float:
        """Return the seconds that `size` bytes take over `distance` metres."""
        return 8 * size / self.rate(distance)


@dataclass(frozen=True)
class Processor:
    """The processor of a server."""

    cycles_per_sample: float = 1e7
    """Cycles of one pass over one sample."""
    frequency: float = 2e9
    """Cycles per second."""

    def __post_init__(self) -> None:
        for name in ("cycles_per_sample", "frequency"):
            _positive(name, getattr(self, name))

    def seconds(self, samples: int, epochs: int) -> float:
        """Return the seconds of local training."""
        return self.cycles_per_sample * samples * epochs / self.frequency


@dataclass(frozen=True)
class CostModel:
    """The links, the processors, and the deadlines of a round."""

    radio: Radio
    processor: Callable[[int, int], Processor]
    """Processor of a server: (seed, server) -> processor."""
    distance: Callable[[int, int], float]
    """Metres to its server from a device that does not move: (seed, device) -> distance."""
    upload_deadline: float = math.inf
    """Seconds from the start of a round after which devices stop uploading; they send the rest in the next round."""
    round_deadline: float = math.inf
    """Seconds from the start of a round after which it waits for no further update."""

    def __post_init__(self) -> None:
        for name in ("upload_deadline", "round_deadline"):
            require(getattr(self, name) > 0, f"radio: {name}", getattr(self, name), "more than 0 seconds")

    def in_time(self, distance: float, size: int) -> bool:
        """Return True if a device can upload `size` bytes in a round."""
        return self.radio.seconds(distance, size) <= self.upload_deadline

    def round_cost(self, seed: int, uploads: Iterable[Upload], samples: Mapping[int, int], epochs: int) -> RoundCost:
        """Return the cost of a round in which every server trains for `epochs` on its `samples`.

        A server starts when the last of its devices has uploaded, or was cut off. The consensus and the traffic between
        servers, which are wired, are not counted.
        """
        waits: dict[int, float] = {}
        joules = 0.0
        late_devices = 0
        for upload in uploads:
            sending = self.upload_deadline if upload.late else self.radio.seconds(upload.distance, upload.size)
            waits[upload.server] = max(waits.get(upload.server, 0.0), sending)
            joules += self.radio.power * sending
            late_devices += upload.late
        training = {server: self.processor(seed, server).seconds(count, epochs) for server, count in samples.items()}
        ends = {server: waits.get(server, 0.0) + training.get(server, 0.0) for server in waits.keys() | training.keys()}
        late = frozenset(server for server, end in ends.items() if samples.get(server) and end > self.round_deadline)
        return RoundCost(min(max(ends.values(), default=0.0), self.round_deadline), joules, late_devices, late)


def shannon(
    *,
    bandwidth: float = 1e6,
    power: float = 0.1,
    noise: float = 10 ** (-204 / 10),
    loss_at_reference: float = 40.0,
    exponent: float = 3.0,
    radius: float = 300.0,
    cycles_per_sample: float = 1e7,
    min_frequency: float = 2e9,
    max_frequency: float = 2e9,
    upload_deadline: float | None = None,
    round_deadline: float | None = None,
) -> CostModel:
    """Model links at Shannon's capacity, and processors with a frequency uniform between two; see the classes above.

    Devices that do not move stand anywhere within `radius` metres of their server. Without a deadline, a round waits
    for all of them.
    """
    _positive("radius", radius)
    _positive("min_frequency", min_frequency)
    if not min_frequency <= max_frequency < math.inf:
        raise InvalidInputError(f"radio: max_frequency is {max_frequency}; allowed: min_frequency ({min_frequency}) on")

    def processor(seed: int, server: int) -> Processor:
        rng = generator(seed, "processor", server=server)
        return Processor(cycles_per_sample, rng.uniform(min_frequency, max_frequency))

    def distance(seed: int, device: int) -> float:
        # Uniform in the disc: as many devices in every square metre.
        return radius * math.sqrt(generator(seed, "distance", server=device).uniform())

    processor(0, 0)  # fails now rather than later
    return CostModel(
        Radio(bandwidth, power, noise, loss_at_reference, exponent),
        processor,
        distance,
        math.inf if upload_deadline is None else upload_deadline,
        math.inf if round_deadline is None else round_deadline,
    )


RADIOS: Mapping[str, Callable[..., CostModel]] = {"shannon": shannon}


def resolve(name: str, settings: Mapping[str, object]) -> CostModel:
    """Return the cost model of a name (or `package.module:function`) with its settings; else `InvalidInputError`."""
    model = plugins.resolve("radio", name, RADIOS, settings, data=0)()
    if not isinstance(model, CostModel):
        raise InvalidInputError(f"radio {name}: has to return a CostModel, not a {type(model).__name__}")
    return replace(model, processor=_processor(name, model), distance=_distance(name, model))


def _processor(name: str, model: CostModel) -> Callable[[int, int], Processor]:
    """Return a user's processors, checked: anything else raises `InvalidInputError`."""
    function = plugins.guarded("radio", model.processor)

    def processor(seed: int, server: int) -> Processor:
        made = function(seed, server)
        if not isinstance(made, Processor):
            raise InvalidInputError(
                f"radio {name}: the processor of server {server} is a {type(made).__name__}; allowed: a Processor"
            )
        return made

    return processor


def _distance(name: str, model: CostModel) -> Callable[[int, int], float]:
    """Return a user's distances, checked: anything but metres raises `InvalidInputError`."""
    function = plugins.guarded("radio", model.distance)

    def distance(seed: int, device: int) -> float:
        metres = function(seed, device)
        if not isinstance(metres, int | float | np.number) or not 0 <= metres < math.inf:
            raise InvalidInputError(f"radio {name}: the distance of device {device} is {metres!r}; allowed: metres")
        return float(metres)

    return distance


def _positive(name: str, value: float) -> None:
    require(0 < value < math.inf, f"radio: {name}", value, "more than 0")
