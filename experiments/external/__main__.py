"""Run published tables again and set ours beside them.

    python -m experiments.external mcmahan2017 --only partition=iid --only model=2nn --seeds 5
    python -m experiments.external                       # only writes RESULTS.md

Finished runs stay in NAME.csv and are not played again; RESULTS.md is written from these files alone. FBFL_DATA names
the folder of mnist.npz.
"""

import argparse

from experiments.external import baruch2019, fang2020, hiding, mcmahan2017, shejwalkar2021
from experiments.external.study import FOLDER, finished, play
from fbfl.system.atomic import write_atomically

STUDIES = {each.STUDY.name: each.STUDY for each in (mcmahan2017, fang2020, baruch2019, shejwalkar2021, hiding)}
HEAD = """# Published results, and ours

Written by `python -m experiments.external` from the CSV files beside it. Nothing was tuned beyond what the papers did.
"""


def report() -> str:
    """Return RESULTS.md, made of the lines of all CSVs."""
    return "\n".join([HEAD, *(study.section(finished(study)) for study in STUDIES.values())])


def main() -> None:
    """Play what is asked for and write RESULTS.md."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.external", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", nargs="?", choices=STUDIES, help="the table to run (default: none)")
    parser.add_argument("--only", action="append", default=[], metavar="KEY=VALUE", help="cells with this value only")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, counted from 0 (default: 5)")
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds {args.seeds}: must be 1 or more")
    if args.only and not args.study:
        parser.error(f"--only {args.only[0]}: must follow the name of a study")
    if args.study:
        study = STUDIES[args.study]
        only: dict[str, str] = {}
        for word in args.only:
            key, separator, value = word.partition("=")
            if not separator or key not in study.cells[0]:
                parser.error(f"--only {word}: must be KEY=VALUE, with a KEY of {', '.join(study.cells[0])}")
            if value not in (values := dict.fromkeys(cell[key] for cell in study.cells)):
                parser.error(f"--only {word}: {key} must be one of {', '.join(map(repr, values))}")
            if only.setdefault(key, value) != value:
                parser.error(f"--only {word}: {key} is given twice")
        play(study, args.seeds, only)
    write_atomically(FOLDER / "RESULTS.md", report().encode())


if __name__ == "__main__":
    main()
