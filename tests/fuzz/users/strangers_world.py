"""Mobility and radio of users: right ones, ones that answer something else, and ones that raise.

Found by the first word of their names, see `tests.fuzz.strategies.functions_of`. All draw nothing at random.
"""

from tests.fuzz.users.raising import fail


def mobility_of_one_cell(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (0.0, 0.0), Grid(1.0, 1.0, servers, 1), 60.0, 2)


def mobility_outside(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (-5.0, 9.0), Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_nowhere(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (float("nan"), 0.0), Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_no_position(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: None, Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_lost(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(fail, Grid(1.0, 1.0, servers, 1), 60.0, 1)


def mobility_few_cells(servers):
    from fbfl.mec.mobility import Grid, Mobility

    return Mobility(lambda seed, device, time: (0.0, 0.0), Grid(1.0, 1.0, servers + 1, 1), 60.0, 1)


def mobility_none(servers):
    return None


def mobilityfails(servers):
    fail()


def _cost_model(distance, **more):
    from fbfl.mec.radio import CostModel, Processor, Radio

    return CostModel(Radio(), lambda seed, server: Processor(), distance, **more)


def radio_near():
    return _cost_model(lambda seed, device: 1.0)


def radio_late():
    return _cost_model(lambda seed, device: 1.0, round_deadline=1e-9)


def radio_nan():
    return _cost_model(lambda seed, device: float("nan"))


def radio_far():
    return _cost_model(lambda seed, device: 1e300)


def radio_no_distance():
    return _cost_model(lambda seed, device: None)


def radio_lost():
    return _cost_model(fail)


def radio_no_processor():
    from fbfl.mec.radio import CostModel, Radio

    return CostModel(Radio(), lambda seed, server: None, lambda seed, device: 1.0)


def radio_none():
    return None


def radiofails():
    fail()
