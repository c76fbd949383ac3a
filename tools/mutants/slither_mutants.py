"""Print all mutants that slither-mutate makes of the contracts, as JSON. Run by slither's own Python: see solidity.py.

A list of {"file", "in", "operator", "start", "was", "is"}: replace the bytes `was` at `start` by `is`. The operators
are those of slither; not so its command, which changes the sources in place, does not go on after a stop, and passes
over lines where a coarse mutant survived.
"""

import contextlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slither import Slither
from slither.tools.mutator.mutators import all_mutators
from slither.tools.mutator.mutators.abstract_mutator import AbstractMutator


def main() -> None:
    """Read the project in the working directory and print the mutants of contracts/ without the interfaces."""
    with contextlib.redirect_stdout(sys.stderr):
        mutants = [mutant for unit in Slither(".").compilation_units for mutant in of_unit(unit)]
    json.dump(mutants, sys.stdout)


def of_unit(unit: Any) -> Iterator[dict[str, Any]]:
    """The mutants of one compilation unit."""
    operators = [kind for _, kind in inspect.getmembers(all_mutators, inspect.isclass)]
    folder = Path("contracts").resolve()
    for contract in sorted(unit.contracts, key=lambda contract: contract.name):
        file = Path(contract.source_mapping.filename.absolute)
        if contract.is_interface or folder not in file.parents:
            continue
        source = file.read_bytes()
        functions = [
            (f.source_mapping.start, f.source_mapping.end, f"{contract.name}.{f.name}")
            for f in contract.functions_and_modifiers_declared
        ]
        for operator in operators:
            if not issubclass(operator, AbstractMutator) or operator is AbstractMutator:
                continue
            mutator = operator(unit, 0, "", "", contract, None, False, Path(), [])
            for patch in mutator._mutate().get("patches", {}).get(str(file), []):
                start, end = patch["start"], patch["end"]
                where = [name for first, last, name in functions if first <= start < last]
                yield {
                    "file": file.relative_to(folder.parent).as_posix(),
                    "in": where[0] if where else contract.name,
                    "operator": operator.NAME,
                    "start": start,
                    "was": source[start:end].decode(),
                    "is": str(patch["new_string"]),
                }


if __name__ == "__main__":
    main()
