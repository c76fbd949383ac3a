"""The devices of a whole federation: what they upload in a round, to which server, and what that costs."""

from collections.abc import Mapping

from fbfl.errors import InvalidInputError
from fbfl.learning.datasets import Dataset
from fbfl.learning.partition import devices_told
from fbfl.learning.partition import resolve as resolve_partition
from fbfl.mec.device import LocalDevice, device_shares
from fbfl.mec.mobility import resolve as resolve_mobility
from fbfl.mec.radio import CostModel, RoundCost, Upload
from fbfl.mec.radio import resolve as resolve_radio
from fbfl.mec.samples import MemorySampleStore
from fbfl.settings import RunSettings, changed

UPLOAD_BATCH = 100
"""Samples that a device sends at a time. A batch that a deadline cuts off is sent again in the next round."""


class Fleet:
    """All devices with all their samples, which are equal parts of the servers' shares, and what servers have of them.

    Unless they move, or have a radio, they upload everything before the first round.
    """

    def __init__(self, settings: RunSettings, dataset: Dataset) -> None:
        self._settings = settings
        self._num_samples = len(dataset.y_train)
        partition = resolve_partition(settings.partition, **settings.partition_args)
        shares = device_shares(
            dataset.y_train,
            partition,
            settings.servers,
            devices_of(settings, dataset),
            settings.seed,
            dataset.device_of,
        )
        self._devices = [
            LocalDevice(device, dataset.x_train[share], dataset.y_train[share]) for device, share in enumerate(shares)
        ]
        self._mobility = (
            resolve_mobility(settings.mobility, settings.servers, settings.mobility_args) if settings.mobility else None
        )
        self._costs = cost_model(settings)
        self.stores = [MemorySampleStore() for _ in range(settings.servers)]
        """Samples of each server."""
        if self._costs is None:
            self._upload(0)

    @property
    def suppliers(self) -> int:
        """Number of servers that surely have samples in every round; 0 where uploads take time and may be late."""
        if self._costs is not None:
            return 0
        return sum(bool(len(store.training_set(0)[1])) for store in self.stores)

    @property
    def largest_share(self) -> int:
        """Most samples that a server can ever hold: no honest server claims more."""
        if self._mobility:
            return self._num_samples  # all devices may come to the same server
        held = [0] * self._settings.servers
        for device in self._devices:
            held[device.id % self._settings.servers] += len(device)
        return max(held)

    def collect(self, round_number: int, work: Mapping[int, int]) -> RoundCost | None:
        """Have the devices upload for a round, unless all was uploaded before the first; return the round's cost.

        `work` are the epochs or steps of each server that trains.
        """
        if self._costs is None:
            return None
        uploads = self._upload(round_number)
        samples = {
            server: self._per_epoch(len(self.stores[server].training_set(round_number)[1]), work[server])
            for server in sorted(work)
        }
        return self._costs.round_cost(self._settings.seed, uploads, samples, self._settings.local_epochs)

    def _per_epoch(self, held: int, work: int) -> int:
        """Return the samples of an epoch that would be as much work; all that are `held` if the work is the usual."""
        settings = self._settings
        if settings.local_steps is not None:
            return work * min(settings.batch_size, held)
        return -(-held * work // settings.local_epochs)

    def _upload(self, round_number: int) -> list[Upload]:
        """Upload each device's new samples to the server to which it is attached, until a deadline."""
        uploads = []
        seed, mobility, costs = self._settings.seed, self._mobility, self._costs
        for device in self._devices:
            server = mobility.server_of(seed, device.id, round_number) if mobility else device.id % len(self.stores)
            collected = mobility.collected(len(device), round_number) if mobility else None
            distance = 0.0
            if costs:
                distance = (
                    mobility.distance(seed, device.id, round_number) if mobility else costs.distance(seed, device.id)
                )
            size, late = 0, False
            for batch in device.upload(UPLOAD_BATCH, collected=collected):
                more = batch.x.nbytes + batch.y.nbytes
                if costs and not costs.in_time(distance, size + more):
                    late = True
                    break
                self.stores[server].receive(batch)
                size += more
            if size or late:
                uploads.append(Upload(server, distance, size, late))
        return uploads


def devices_of(settings: RunSettings, dataset: Dataset) -> int:
    """Return the number of devices: of the settings, or of the data, if the partition goes by these."""
    partition = resolve_partition(settings.partition, **settings.partition_args)
    if not partition.is_by_device:
        if "device" in settings.dataset_args:
            raise InvalidInputError(
                f"dataset_args has a device, and partition is {settings.partition!r}; allowed: partition = by_device"
            )
        return settings.devices
    count = int(devices_told(settings.partition, dataset.device_of).max()) + 1
    if settings.servers > count:
        raise InvalidInputError(
            f"servers is {settings.servers}; allowed with the {count} devices of the data: 1 to {count}"
        )
    named = changed({"devices": settings.devices, "servers": settings.servers})
    if settings.devices != count and "devices" in named:
        raise InvalidInputError(f"devices is {settings.devices}; allowed: {count}, as the data have, or not set")
    return count


def cost_model(settings: RunSettings) -> CostModel | None:
    """Return the cost model; None if devices upload everything before the first round, and no radio is set."""
    if settings.radio is None and not settings.mobility:
        return None
    return resolve_radio(settings.radio or "shannon", settings.radio_args)
