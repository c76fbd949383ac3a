"""The devices of a whole federation: as many as the settings say, or as the data tell."""

from dataclasses import replace

import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning.datasets import Dataset
from fbfl.mec.fleet import Fleet, devices_of
from fbfl.settings import RunSettings

SAMPLES = np.arange(12, dtype=np.float32).reshape(6, 2)
LABELS = np.zeros(6, np.int64)
DEVICE_OF = np.array([2, 0, 1, 0, 2, 2])
DATA = Dataset("table", SAMPLES, LABELS, SAMPLES, LABELS, "here", device_of=DEVICE_OF)
BY_DEVICE = RunSettings(partition="by_device", servers=2)


def test_servers_have_what_their_devices_of_the_data_have() -> None:
    fleet = Fleet(BY_DEVICE, DATA)
    held = [sorted(store.training_set(1)[0][:, 0].tolist()) for store in fleet.stores]
    assert held == [[0.0, 2.0, 6.0, 8.0, 10.0], [4.0]]  # devices 0 and 2, and device 1
    assert fleet.largest_share == 5


@pytest.mark.parametrize(
    ("settings", "data", "count"),
    [
        (RunSettings(servers=2), DATA, 20),
        (RunSettings(servers=2, devices=5), DATA, 5),
        (BY_DEVICE, DATA, 3),
        (BY_DEVICE.replace(devices=3), DATA, 3),
    ],
)
def test_the_number_of_devices(settings: RunSettings, data: Dataset, count: int) -> None:
    assert devices_of(settings, data) == count


@pytest.mark.parametrize(
    ("settings", "data", "said"),
    [
        (
            BY_DEVICE,
            replace(DATA, device_of=None),
            "'by_device', and the data do not tell the devices of their samples",
        ),
        (BY_DEVICE.replace(servers=4), DATA, "servers is 4; allowed with the 3 devices of the data: 1 to 3"),
        (BY_DEVICE.replace(devices=21), DATA, "devices is 21; allowed: 3, as the data have, or not set"),
        (
            RunSettings(dataset="a.csv", dataset_args={"label": "x", "device": "y"}),
            DATA,
            "dataset_args has a device, and partition is 'iid'; allowed: partition = by_device",
        ),
    ],
)
def test_devices_that_do_not_fit_the_data_are_refused(settings: RunSettings, data: Dataset, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        devices_of(settings, data)
