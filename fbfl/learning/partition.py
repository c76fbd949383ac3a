"""Partitions of a data set over clients: pure functions of (labels, number of clients, settings, seed).

Each returns one array of sample numbers per client; every sample is used at most once, and the numbers of a client are
in random order, so that a prefix of them is a fair sample of what the client has.

Partitions that leave sizes to chance (`dirichlet`, `label_bias`, `quantity_skew`) take `min_samples`: clients that
would get fewer are filled up, in ascending order, each sample being the last of the client that has the most at that
moment (the lowest of several). 0 leaves clients empty as the draw has them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, require
from fbfl.learning import plugins
from fbfl.learning.noise import Images, add_noise
from fbfl.learning.samples import Range, integers_of, range_of
from fbfl.randomness import generator
from fbfl.values import checks

Indices = npt.NDArray[np.int64]


@checks.arguments
def iid(labels: npt.ArrayLike, num_clients: int, seed: int) -> list[Indices]:
    """Shuffle all samples and deal them out evenly; sizes differ by one at most (McMahan et al. 2017, section 3)."""
    size = _counted(labels, num_clients)
    return np.array_split(generator(seed, "partition iid").permutation(size), num_clients)


@checks.arguments
def shards(labels: npt.ArrayLike, num_clients: int, shards_per_client: int, seed: int) -> list[Indices]:
    """Sort by label, cut into equal shards, and give each client `shards_per_client` of them at random.

    McMahan et al. 2017, section 3: 60,000 samples, 100 clients, 2 shards of 300 each, so most clients see two digits.
    Sizes of shards differ by one at most; all samples are used.
    """
    array = _checked(labels, num_clients)
    count = num_clients * _at_least("shards_per_client", shards_per_client, 1)
    if count > array.size:
        raise InvalidInputError(
            f"shards_per_client is {shards_per_client}; allowed: 1 to {array.size // num_clients}, a sample in each"
        )
    rng = generator(seed, "partition shards")
    # Shuffled before the stable sort, so that the samples of one label are dealt out at random.
    shuffled = rng.permutation(array.size)
    pieces = np.array_split(shuffled[np.argsort(array[shuffled], kind="stable")], count)
    dealt = rng.permutation(count).reshape(num_clients, shards_per_client)
    return [rng.permutation(np.concatenate([pieces[i] for i in own])) for own in dealt]


@checks.arguments
def dirichlet(labels: npt.ArrayLike, num_clients: int, alpha: float, seed: int, min_samples: int = 1) -> list[Indices]:
    """Split the samples of each label by shares drawn from Dirichlet(alpha, ..., alpha).

    Hsu, Qi and Brown 2019, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", and Li et al. 2022 (NIID-Bench), section 4.1. Small alpha: each label with few clients; large
    alpha: IID. One draw and no retry, so it ends for every alpha; clients that come out short are filled up to
    `min_samples` (see the module). All samples are used.
    """
    array = _checked(labels, num_clients, _at_least("min_samples", min_samples, 0))
    _positive("alpha", alpha)
    rng = generator(seed, "partition dirichlet")
    parts: list[list[Indices]] = [[] for _ in range(num_clients)]
    for label in np.unique(array):
        samples = rng.permutation(np.flatnonzero(array == label))
        cuts = np.rint(np.cumsum(_dirichlet_shares(rng, alpha, num_clients))[:-1] * samples.size).astype(np.int64)
        for part, piece in zip(parts, np.split(samples, cuts), strict=True):
            part.append(piece)
    return _filled_up([rng.permutation(np.concatenate(part)) for part in parts], min_samples)


@checks.arguments
def label_quantity(labels: npt.ArrayLike, num_clients: int, labels_per_client: int, seed: int) -> list[Indices]:
    """Give each client a fixed number of labels, and split the samples of a label evenly among its clients.

    Li et al. 2022, "Federated Learning on Non-IID Data Silos: An Experimental Study" (NIID-Bench), section 4.1 (#C=k).
    Client i gets label i mod K and random others, so with K or more clients every label has an owner; samples
    of labels that nobody owns are left out.
    """
    array = _checked(labels, num_clients)
    kinds = np.unique(array)
    k = _at_least("labels_per_client", labels_per_client, 1)
    require(k <= kinds.size, "labels_per_client", k, f"1 to {kinds.size}, as the data have")
    rng = generator(seed, "partition label quantity")
    owners: list[list[int]] = [[] for _ in kinds]
    for client in range(num_clients):
        first = client % kinds.size
        others = rng.permutation(np.delete(np.arange(kinds.size), first))[: k - 1]
        for kind in (first, *others):
            owners[kind].append(client)
    parts: list[list[Indices]] = [[] for _ in range(num_clients)]
    for kind, clients in zip(kinds, owners, strict=True):
        samples = rng.permutation(np.flatnonzero(array == kind))
        if clients:
            for client, piece in zip(clients, np.array_split(samples, len(clients)), strict=True):
                parts[client].append(piece)
    return [rng.permutation(np.concatenate(part)) for part in parts]


@checks.arguments
def label_bias(labels: npt.ArrayLike, num_clients: int, bias: float, seed: int, min_samples: int = 1) -> list[Indices]:
    """Divide the clients into one group per label; a sample goes to its label's group with probability `bias`.

    Otherwise it goes to another group; groups, and clients within a group, are equally likely. The members of a group
    are drawn, and groups differ in size by one at most. Fang et al. 2020, "Local Model Poisoning Attacks to
    Byzantine-Robust Federated Learning", section 4.1 (p, the degree of non-IID). With L labels, bias = 1/L is IID and
    1 leaves each client a single label. With n < L clients each is a group of its own, for the labels i, i + n, ...
    Clients that come out short are filled up to `min_samples` (see the module). All samples are used.
    """
    array = _checked(labels, num_clients, _at_least("min_samples", min_samples, 0))
    require(0 <= bias <= 1, "bias", bias, "0 to 1")
    kinds, place = np.unique(array, return_inverse=True)
    count = min(kinds.size, num_clients)
    rng = generator(seed, "partition label bias")
    groups = np.array_split(rng.permutation(num_clients), count)
    own = place % count
    others = (own + rng.integers(1, max(2, count), size=array.size)) % count
    group = np.where(rng.random(array.size) < bias, own, others)
    sizes = np.array([members.size for members in groups])
    client = np.concatenate(groups)[(np.cumsum(sizes) - sizes)[group] + rng.integers(sizes[group])]
    shuffled = rng.permutation(array.size)
    counts = np.bincount(client, minlength=num_clients)
    parts = np.split(shuffled[np.argsort(client[shuffled], kind="stable")], np.cumsum(counts)[:-1])
    return _filled_up(parts, min_samples)


@checks.arguments
def quantity_skew(
    labels: npt.ArrayLike, num_clients: int, sigma: float, seed: int, min_samples: int = 1
) -> list[Indices]:
    """Deal out IID samples in unequal numbers: sizes proportional to log-normal draws exp(sigma N(0, 1)).

    Li et al. 2022 (NIID-Bench), section 4.3, with the log-normal law of Li et al. 2020 (FedProx), section 5. sigma = 0
    is `iid`-like; clients that come out short are filled up to `min_samples` (see the module). All samples are used.
    """
    size = _counted(labels, num_clients, _at_least("min_samples", min_samples, 0))
    require(0 <= sigma < np.inf, "sigma", sigma, "finite numbers from 0")
    rng = generator(seed, "partition quantity skew")
    exponents = sigma * rng.standard_normal(num_clients)
    shares = np.exp(exponents - exponents.max())
    cuts = np.rint(np.cumsum(shares / shares.sum())[:-1] * size).astype(np.int64)
    return _filled_up(np.split(rng.permutation(size), cuts), min_samples)


@checks.arguments
def by_device(labels: npt.ArrayLike, num_clients: int, seed: int, device_of: npt.ArrayLike | None) -> list[Indices]:
    """Give client i the samples of the devices i, i + num_clients, i + 2 num_clients, ..., device by device.

    `device_of` [n] has the device of each sample, from 0, as a data set tells it (`Dataset.device_of`).
    """
    size = _counted(labels, num_clients)
    devices = devices_told("by_device", device_of)
    if devices.shape != (size,):
        raise InvalidInputError(f"device_of has {devices.size} entries; needed: one for each of {size} samples")
    count = int(devices.max()) + 1
    if num_clients > count:
        raise InvalidInputError(f"num_clients is {num_clients}; allowed with {count} devices: 1 to {count}")
    rng = generator(seed, "partition by device")
    own = [rng.permutation(np.flatnonzero(devices == device)) for device in range(count)]
    return [np.concatenate(own[client::num_clients]) for client in range(num_clients)]


def devices_told(partition: str, device_of: npt.ArrayLike | None) -> Indices:
    """Return the device of each sample [n], for a partition that goes by it; `InvalidInputError` if data tell none."""
    if device_of is None:
        raise InvalidInputError(
            f"partition is {partition!r}, and the data do not tell the devices of their samples; "
            "allowed: har, or a table with dataset_args device = COLUMN"
        )
    return integers_of(device_of, "device_of").astype(np.int64, copy=False)


@checks.arguments
def feature_noise(
    x: Images, client: int, num_clients: int, variance: float, seed: int, sample_range: Range | None = None
) -> Images:
    """Add Gaussian noise whose variance grows with the client's number: variance * (client + 1) / num_clients.

    Li et al. 2022 (NIID-Bench), section 4.2: the labels are IID, the features are not. The unit is the range of the
    samples of all clients, `sample_range` (None: of those given; 0 to 1 for pictures, 255 of bytes being 1). The data
    type is kept, values stay in range.
    """
    require(0 <= client < num_clients, "client", client, f"0 to {num_clients - 1}")
    require(0 <= variance < np.inf, "variance", variance, "finite numbers from 0")
    rng = generator(seed, "feature noise", server=client)
    return add_noise(x, float(np.sqrt(variance * (client + 1) / num_clients)), rng, sample_range or range_of([x]))


PARTITIONS: dict[str, Callable[..., list[Indices]]] = {
    "iid": iid,
    "shards": shards,
    "dirichlet": dirichlet,
    "label_quantity": label_quantity,
    "label_bias": label_bias,
    "quantity_skew": quantity_skew,
    "by_device": by_device,
}

_OF_CLASSES = ("shards", "dirichlet", "label_quantity", "label_bias")
"""Partitions that go by classes."""


@dataclass(frozen=True)
class Partition:
    """A partition with its settings, ready to be called."""

    plugin: plugins.Plugin

    @property
    def is_by_device(self) -> bool:
        """Return True if it goes by the device of each sample, which the data have to tell."""
        return "device_of" in self.plugin.wants

    def check_labels(self, num_classes: int | None) -> None:
        """Raise `InvalidInputError` if the partition goes by classes, and labels are numbers (`num_classes` 0)."""
        if num_classes == 0 and self.plugin.name in _OF_CLASSES:
            others = ", ".join(name for name in PARTITIONS if name not in _OF_CLASSES)
            raise InvalidInputError(
                f"partition is {self.plugin.name!r}, which goes by classes, but labels are numbers; allowed: {others}"
            )

    def __call__(
        self, labels: npt.ArrayLike, num_clients: int, *, seed: int, device_of: npt.ArrayLike | None = None
    ) -> list[Indices]:
        """Return the sample numbers of each client; anything else from a user's function raises `InvalidInputError`."""
        where, count = f"partition {self.plugin.name}", len(np.asarray(labels))
        returned = self.plugin(labels, num_clients, seed=seed, device_of=device_of)
        if not isinstance(returned, list | tuple | np.ndarray) or len(returned) != num_clients:
            what = f"{len(returned)} parts" if isinstance(returned, list | tuple) else f"a {type(returned).__name__}"
            raise InvalidInputError(f"{where} returned {what}; needed: the sample numbers of {num_clients} clients")
        parts = [integers_of(part, f"{where}: what client {client} gets") for client, part in enumerate(returned)]
        for client, part in enumerate(parts):
            if part.size and not 0 <= part.min() <= part.max() < count:
                wrong = part[(part < 0) | (part >= count)][0]
                raise InvalidInputError(
                    f"{where} gives client {client} sample number {wrong}; allowed: 0 to {count - 1}"
                )
        return [part.astype(np.int64, copy=False) for part in parts]


def resolve(name: str | Callable[..., Any], **settings: Any) -> Partition:
    """Return the partition of a name of `PARTITIONS`, of ``package.module:function``, or of a function.

    Unknown and missing settings raise `InvalidInputError`.
    """
    return Partition(plugins.resolve("partition", name, PARTITIONS, settings, data=2, context=("seed", "device_of")))


def _checked(labels: npt.ArrayLike, num_clients: int, min_samples: int = 1) -> Indices:
    """Return labels [n], which are classes."""
    array = integers_of(labels, "labels")
    _counted(array, num_clients, min_samples)
    return array.astype(np.int64)


def _counted(labels: npt.ArrayLike, num_clients: int, min_samples: int = 1) -> int:
    """Return the number of samples, whatever their labels are."""
    array = np.asarray(labels)
    size = len(array) if array.dtype.kind == "f" and array.ndim == 1 else integers_of(labels, "labels").size
    if num_clients < 1 or num_clients * max(1, min_samples) > size:
        raise InvalidInputError(
            f"num_clients is {num_clients}; allowed: at least 1, with {max(1, min_samples)} of {size} samples for each"
        )
    return size


def _at_least(name: str, value: int, minimum: int) -> int:
    require(value >= minimum, name, value, f"at least {minimum}")
    return value


def _positive(name: str, value: float) -> None:
    require(0 < value < np.inf, name, value, "finite numbers above 0")


def _dirichlet_shares(rng: np.random.Generator, alpha: float, count: int) -> npt.NDArray[np.float64]:
    """Draw from Dirichlet(alpha, ..., alpha) in logarithms, where no alpha underflows.

    A Gamma(a) variable is Gamma(a + 1) U^(1/a), so its logarithm times a is ``ln U + a ln Gamma(a + 1)``. With a tiny
    alpha the largest takes all, as it should.
    """
    uniform = 1 - rng.random(count)
    scaled = np.log(uniform) + alpha * np.log(rng.standard_gamma(alpha + 1, count))
    with np.errstate(over="ignore"):
        shares = np.exp((scaled - scaled.max()) / alpha)
    return np.asarray(shares / shares.sum())


def _filled_up(parts: Sequence[Indices], min_samples: int) -> list[Indices]:
    """Move samples from the largest clients to those with fewer than `min_samples`."""
    lists = [part.tolist() for part in parts]
    for short in lists:
        while len(short) < min_samples:
            short.append(max(lists, key=len).pop())
    return [np.array(part, dtype=np.int64) for part in lists]
