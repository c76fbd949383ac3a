"""Mutate the Python that decides what counts, and see which test notices: ``python -m tools.mutants.python``.

mutmut makes the mutants; pyproject.toml says of which files, and by which tests they are to be killed. They stand in
mutants/, beside what was tried already: stopped anywhere, this goes on there. Mutants of functions that have changed
are tried anew, and survivors where tests have. python.json receives every mutant: killed, and by which test; a
survivor; or equivalent, which is written there by hand, with the reason, and stays as long as the mutant is the same.
"""

import difflib
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.data import MutantLineSpans, SourceFileMutationData
from mutmut.mutation.diff_apply import generated_function_names
from mutmut.utils.file_utils import (
    change_cwd,
    copy_also_copy_files,
    copy_src_dir,
    setup_source_paths,
)
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

from tools.mutants.forks import Forks

RESULTS = Path(__file__).with_name("python.json")
TRIED = Path("mutants/tried.json").absolute()
GENERATED = TRIED.with_name("generated")

Key = tuple[str, ...]


def main() -> int:
    """Try what is not tried yet; write the results of all that was tried, also when interrupted."""
    copy_src_dir()
    copy_also_copy_files()
    if not GENERATED.exists():  # mutmut takes what was written in part for whole
        for file in config().only_mutate:
            (GENERATED.parent / file).unlink(missing_ok=True)
    GENERATED.unlink(missing_ok=True)
    create_mutants(1)
    GENERATED.touch()
    tests = _digest_of_tests()
    tried: dict[str, list[str]] = json.loads(TRIED.read_text()) if TRIED.exists() else {}
    functions = dict(_mutants())

    def is_known(mutant: str) -> bool:
        """Return True if it was tried as it is, and either was killed or has met these tests."""
        function, killer, by_tests = tried.get(mutant, ("", "", ""))
        return function == functions[mutant] and (killer != "" or by_tests == tests)

    tried = {mutant: tried[mutant] for mutant in functions if is_known(mutant)}
    left = [mutant for mutant in functions if mutant not in tried]
    print(f"{len(functions)} mutants, {len(left)} to try", flush=True)
    shown = time.monotonic()

    def tell(mutant: str, killer: str) -> None:
        nonlocal shown
        tried[mutant] = [functions[mutant], killer, tests]
        if time.monotonic() > shown + 10 or len(tried) == len(functions):
            shown = time.monotonic()
            _save(TRIED, json.dumps(tried))
            print(f"{len(tried)} tried, {sum(not each[1] for each in tried.values())} survive", flush=True)

    setup_source_paths()
    status = 0
    try:
        if left:
            with change_cwd("mutants"):
                chosen = config().pytest_add_cli_args_test_selection
                # What a test that fails would say takes longer than the test.
                options = ["-q", "--tb=native", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
                status = int(pytest.main([*options, *chosen], [Forks(left, tell)]))
    finally:
        _save(TRIED, json.dumps(tried))
        mutants = list(_results({mutant: each[1] for mutant, each in tried.items()}, _equivalent()))
        _save(RESULTS, _as_json(mutants))
    for mutant in mutants:
        if mutant["status"] == "survived":
            print(json.dumps(mutant))
    print(_score(mutants))
    return status


def _digest_of_tests() -> str:
    files = [Path(each) for each in config().pytest_add_cli_args_test_selection]
    files += sorted(Path("tests/support").glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _mutants() -> Iterator[tuple[str, str]]:
    """Name of every mutant, and a digest of the function that it is one of."""
    for path in map(Path, config().only_mutate):
        data = SourceFileMutationData(path=path)
        data.load()
        for name in data.exit_code_by_key:
            yield name, data.hash_by_function_name[name.rpartition(".")[2].rpartition("__mutmut_")[0]]


def _results(killers: dict[str, str], equivalent: dict[Key, str]) -> Iterator[dict[str, Any]]:
    seen: Counter[Key] = Counter()
    for path in map(Path, config().only_mutate):
        data = SourceFileMutationData(path=path)
        data.load()
        names = [name for name in data.exit_code_by_key if name in killers]
        for name, (was, new) in zip(names, _changes(path, names), strict=True):
            function, of_class = orig_function_and_class_names_from_key(name)
            mutant: dict[str, Any] = {"file": str(path), "in": f"{of_class}.{function}" if of_class else function}
            mutant |= {"was": was, "is": new}
            key = tuple(mutant.values())
            seen[key] += 1
            if seen[key] > 1:
                mutant["nth"] = seen[key]
                key = (*key, str(seen[key]))
            if killers[name]:
                mutant |= {"status": "killed", "by": killers[name]}
            elif key in equivalent:
                mutant |= {"status": "equivalent", "why": equivalent[key]}
            else:
                mutant |= {"status": "survived"}
            yield mutant


def _changes(path: Path, names: list[str]) -> Iterator[tuple[str, str]]:
    """The lines that each mutant replaces, and those that it has instead."""
    spans = MutantLineSpans.load(path)
    assert spans is not None
    functions = list(dict.fromkeys(each for name in names for each in generated_function_names(name)))
    sources = dict(zip(functions, spans.read_function_sources(functions), strict=True))
    for name in names:
        called = orig_function_and_class_names_from_key(name)[0]
        former, mutant = (sources[each].replace(each, called).splitlines() for each in generated_function_names(name))
        lines = list(difflib.unified_diff(former, mutant, n=0, lineterm=""))[2:]
        was, new = ("\n".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
        yield was, new


def _equivalent() -> dict[Key, str]:
    """Why mutants are equivalent, as the results say so far."""
    known = json.loads(RESULTS.read_text())["mutants"] if RESULTS.exists() else []
    return {
        tuple(str(value) for name, value in mutant.items() if name not in ("status", "why")): mutant["why"]
        for mutant in known
        if mutant["status"] == "equivalent"
    }


def _score(mutants: list[dict[str, Any]]) -> dict[str, Any]:
    counted = Counter(mutant["status"] for mutant in mutants)
    killed, survived = counted["killed"], counted["survived"]
    percent = round(100 * killed / max(1, killed + survived), 1)
    return {"killed": killed, "survived": survived, "equivalent": counted["equivalent"], "percent": percent}


def _as_json(mutants: list[dict[str, Any]]) -> str:
    """A mutant per line."""
    head = f'"tool": "mutmut, all mutants",\n"score": {json.dumps(_score(mutants))},\n'
    return "{\n" + head + '"mutants": [\n' + ",\n".join(json.dumps(mutant) for mutant in mutants) + "\n]\n}\n"


def _save(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())
