"""Measure the gas of a round's calls, beside the cost of publishing a hash elsewhere: ``python -m benchmarks.gas``.

All figures are measured in this run, the baselines on contracts written for that (tests/contracts/sources).
``--write`` replaces the snapshot that the tests hold the contracts to.
"""

import argparse

from rich.console import Console
from rich.table import Table

from tests.contracts.gas_figures import BASELINES, CEILINGS, measure, write_snapshot


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gas", description="Print what the calls cost in gas.")
    parser.add_argument("--write", action="store_true", help="replace tests/contracts/gas.json")
    options = parser.parse_args()
    figures = measure()
    if options.write:
        write_snapshot(figures)
    Console().print(table(figures))


def table(figures: dict[str, int]) -> Table:
    floor = figures[BASELINES[0]]
    rows = Table(title="Gas by call")
    rows.add_column("call")
    for heading in ("gas", "ceiling", "times the floor"):
        rows.add_column(heading, justify="right")
    for call, gas in figures.items():
        if call == BASELINES[0]:
            rows.add_section()
        ceiling = CEILINGS.get(call)
        rows.add_row(call, f"{gas:,}", f"{ceiling:,}" if ceiling else "", f"{gas / floor:.2f}")
    return rows


if __name__ == "__main__":
    main()
