import pytest

from fbfl.dashboard.places import places
from fbfl.errors import InvalidInputError
from fbfl.mec.mobility import resolve
from fbfl.settings import RunSettings


def test_moving_devices_are_where_the_simulation_has_them() -> None:
    settings = RunSettings(servers=6, devices=9, mobility="random_waypoint", mobility_args={"max_speed": 20}, seed=3)
    mobility = resolve("random_waypoint", 6, {"max_speed": 20})
    for round_number in (1, 5):
        found = places(settings, round_number)
        assert found.moving
        assert [(each.x, each.y) for each in found.devices] == [mobility.position(3, n, round_number) for n in range(9)]
        assert [each.server for each in found.devices] == [mobility.server_of(3, n, round_number) for n in range(9)]


@pytest.mark.parametrize("servers", [1, 2, 5, 12, 100])
def test_standing_devices_are_in_the_cell_of_their_server(servers: int) -> None:
    found = places(RunSettings(servers=servers, devices=2 * servers), 1)
    assert not found.moving
    assert found.grid.columns * found.grid.rows >= servers
    for device in found.devices:
        assert device.server == device.number % servers
        assert found.grid.cell((device.x, device.y)) == device.server
    assert len({(device.x, device.y) for device in found.devices}) == 2 * servers, "none hides another"


def test_cells_fill_the_area() -> None:
    found = places(RunSettings(servers=6, devices=6, mobility="random_waypoint"), 1)
    cells = [found.cell(server) for server in range(6)]
    assert sum(width * height for *_, width, height in cells) == pytest.approx(found.grid.width * found.grid.height)
    for server, (west, south, width, height) in enumerate(cells):
        assert found.grid.cell((west + width / 2, south + height / 2)) == server


def test_code_that_a_runs_settings_name_is_not_run() -> None:
    settings = RunSettings(servers=2, devices=2, mobility="nobody:moves")
    with pytest.raises(InvalidInputError, match="the code 'nobody:moves'; allowed: what --plugin names"):
        places(settings, 1)


def test_more_devices_than_a_browser_draws_are_refused_at_once() -> None:
    with pytest.raises(InvalidInputError, match="1,000,000 devices; allowed on the map: up to 5,000"):
        places(RunSettings(servers=2, devices=10**6), 1)
