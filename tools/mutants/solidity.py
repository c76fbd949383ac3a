"""Mutate the contracts, and see which contract test notices: ``python -m tools.mutants.solidity``.

The mutants are those of slither-mutate's operators on all of contracts/ but the interfaces, of which a sample is
judged, and those that solidity.toml names. A mutant that does not compile, or compiles to the same bytes, is none. On
the rest the contract tests run until one fails, those first that have killed most.

solidity.json receives every judged mutant: killed, and by which test; a survivor; or equivalent, which is written there
by hand with the reason, and kept without a trial. Stopped anywhere, this goes on there: until the contracts compile to
something else, a survivor stays one as long as no test changes, and what is killed as long as the file of its killer
does not. ``--survivors`` judges only those again that survived.
"""

import argparse
import collections
import hashlib
import itertools
import json
import multiprocessing
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fbfl.system.atomic import write_atomically
from tools import slither
from tools.compile_contracts import OUTPUTS, REPOSITORY, SETTINGS, find_compiler
from tools.mutants import contract_tests

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "solidity.json"
NAMED = HERE / "solidity.toml"
WORK = REPOSITORY / "build" / "mutants" / "solidity"
SEED = 0
SAMPLE = 160
FOLDERS = ["contracts", "tests/contracts/sources"]
WANTED = {"*": OUTPUTS}
CODES = ("bytecode", "deployedBytecode")


BY_HAND = "by hand"
UNCOUNTED = ("invalid", "same")
"""Status of a mutant that does not compile, or compiles to the same bytes."""

Key = tuple[str, str, str, str, int]
UNCHANGED: Key = ("", "", "", "", 0)
"""The key of the contracts as they are, on which no test may fail."""


@dataclass(frozen=True)
class Mutant:
    """A change of one place in one file."""

    file: str
    function: str
    operator: str
    start: int
    was: str
    becomes: str
    nth: int = 1
    """Counts those that are alike in all but `start`."""

    @property
    def key(self) -> Key:
        """Identity, whatever the layout and the lines above."""
        return self.file, self.function, one_line(self.was), one_line(self.becomes), self.nth

    @property
    def order(self) -> str:
        """Its place in the draw, which no change elsewhere moves."""
        return hashlib.sha256(repr((SEED, self.key)).encode()).hexdigest()

    def applied(self, source: str) -> str:
        """The source with the change in it."""
        content = source.encode()
        end = self.start + len(self.was.encode())
        assert content[self.start : end] == self.was.encode(), f"{self.file} changed under {self}"
        return (content[: self.start] + self.becomes.encode() + content[end:]).decode()


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def main(arguments: list[str] | None = None) -> int:
    """Judge the named mutants and a sample of the others; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants.solidity", description=__doc__.split("\n\n")[0])
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="mutants of slither-mutate to judge")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="mutants at the same time")
    parser.add_argument("--survivors", action="store_true", help="judge only those again that survived")
    parser.add_argument("--only", default="", metavar="TEXT", help="only of files whose path contains this")
    options = parser.parse_args(arguments)
    sources = read_sources()
    named = [mutant for mutant in of_list(sources) if options.only in mutant.file]
    drawn = sorted((m for m in of_slither(sources) if options.only in m.file), key=lambda mutant: mutant.order)
    judge = Judge(sources, options.jobs, options.survivors)
    results = judge.results
    if options.survivors:
        named, drawn = ([mutant for mutant in some if results.survived(mutant)] for some in (named, drawn))
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            judge.all(pool, named, len(named))
            judge.all(pool, drawn, options.sample)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            results.entries = results.before | results.entries
            results.write()
            print("interrupted: the same command goes on from here", file=sys.stderr)
            return 130
    if options.only:
        results.entries = results.before | results.entries
    results.write()
    for entry in results.entries.values():
        if entry["status"] == "survived":
            print(f"survived: {entry['file']}: {entry['in']}: {entry['was']}  =>  {entry['is']}")
    print(", ".join(f"{count} {status}" for status, count in results.score().items()))
    return 0


# ---------------------------------------------------------------- mutants


def read_sources() -> dict[str, str]:
    """Every source by its path."""
    files = [file for folder in FOLDERS for file in sorted((REPOSITORY / folder).rglob("*.sol"))]
    return {file.relative_to(REPOSITORY).as_posix(): file.read_text(encoding="utf-8") for file in files}


def of_list(sources: dict[str, str]) -> list[Mutant]:
    """The mutants of solidity.toml: each must fit one place."""
    mutants = []
    for name, entry in tomllib.loads(NAMED.read_text(encoding="utf-8")).items():
        places = sources[entry["file"]].count(entry["was"])
        if places != 1:
            raise SystemExit(f"{NAMED.name}: {name}: `was` stands {places} times in {entry['file']}; allowed: once")
        start = len(sources[entry["file"]].partition(entry["was"])[0].encode())
        mutants.append(Mutant(entry["file"], name, BY_HAND, start, entry["was"], entry["is"]))
    return mutants


def of_slither(sources: dict[str, str]) -> list[Mutant]:
    """All that slither-mutate's operators make; each change once. Kept until a contract changes."""
    kept = WORK / f"slither-{digest_of(sources)}.json"
    if not kept.exists():
        slither.install()
        kept.parent.mkdir(parents=True, exist_ok=True)
        command = [slither.HOME / "bin" / "python", HERE / "slither_mutants.py"]
        done = subprocess.run(command, cwd=REPOSITORY, env=slither.environment(), stdout=subprocess.PIPE, check=True)
        write_atomically(kept, done.stdout)
    found = [
        Mutant(entry["file"], entry["in"], entry["operator"], entry["start"], entry["was"], entry["is"])
        for entry in json.loads(kept.read_text(encoding="utf-8"))
    ]
    alike: collections.Counter[Key] = collections.Counter()
    mutants = []
    for mutant in {(m.file, m.start, m.was, m.becomes): m for m in found}.values():
        alike[mutant.key] += 1
        mutants.append(replace(mutant, nth=alike[mutant.key]))
    return mutants


def digest_of(files: Mapping[str, Any]) -> str:
    """Return a hash that differs as soon as one of these files does."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def affected(file: str, sources: Mapping[str, str]) -> list[str]:
    """The sources that a change of `file` reaches: itself, and whatever imports it, however far."""
    reached = {file}
    while True:
        more = {name for name, text in sources.items() if name not in reached and imports_of(name, text) & reached}
        if not more:
            return sorted(reached)
        reached |= more


def imports_of(name: str, text: str) -> set[str]:
    """The paths that a source imports."""
    paths = re.findall(r'^import .*"([^"]+)";', text, re.MULTILINE)
    return {os.path.normpath(os.path.join(os.path.dirname(name), path)) for path in paths}  # noqa: PTH118, PTH120


# ---------------------------------------------------------------- judging


class Compiler:
    """Solc: the npm compiler as one process for all jobs, the native one as one for each."""

    def __init__(self) -> None:
        solc, paths = str(find_compiler()), ["--base-path", str(REPOSITORY), "--allow-paths", str(REPOSITORY)]
        self.command = [solc, "--standard-json", *paths]
        self.server: subprocess.Popen[bytes] | None = None
        if solc.endswith(".js"):
            command, pipe = [solc, "--serve", *paths], subprocess.PIPE
            self.server = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)

    def answer(self, job: dict[str, Any]) -> Any:
        """Return what solc makes of a job in its standard JSON."""
        line = json.dumps(job).encode() + b"\n"
        if self.server is None:
            run = subprocess.run(self.command, input=line, stdout=subprocess.PIPE, start_new_session=True, check=True)
            return json.loads(run.stdout)
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(line)
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())


class Judge:
    """Judges mutants, some at the same time."""

    def __init__(self, sources: Mapping[str, str], jobs: int, survivors: bool) -> None:
        self.sources, self.jobs = sources, jobs
        self.compilers: queue.SimpleQueue[Compiler] = queue.SimpleQueue()
        for _ in range(jobs):
            self.compilers.put(Compiler())
        compiled = self.compile(sources)
        assert compiled is not None, "the contracts do not compile"
        self.unchanged, self.results, tree = compiled, Results(compiled, survivors), WORK / "tree"
        # The tests as they are now: whoever waits for the end goes on writing.
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(REPOSITORY / "tests" / "contracts", tree / "tests" / "contracts")
        for name in ("pyproject.toml", "tests/conftest.py"):
            shutil.copy(REPOSITORY / name, tree / name)
        self.tests: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        processes = multiprocessing.get_context("spawn")
        for _ in range(jobs):
            here, there = processes.Pipe()
            processes.Process(target=contract_tests.serve, args=(tree, there), daemon=True).start()
            there.close()
            self.tests.put(here)
        if UNCHANGED not in self.results.verdicts:
            failed = self.killer(compiled, [])
            if failed:
                raise SystemExit(f"{failed} fails without any change: no mutant can be judged")
            self.results.keep(UNCHANGED, {"status": "survived"})

    def all(self, pool: ThreadPoolExecutor, mutants: Iterable[Mutant], wanted: int) -> None:
        """Judge mutants in their order until `wanted` count."""
        waiting, under_way, counted = iter(mutants), set[Future[bool]](), 0
        while True:
            # Never more than could still be wanted: which ones count then depends on their order alone.
            room = min(wanted - counted, self.jobs + 1) - len(under_way)
            under_way |= {pool.submit(self.one, mutant) for mutant in itertools.islice(waiting, max(room, 0))}
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            counted += sum(future.result() for future in done)

    def one(self, mutant: Mutant) -> bool:
        """Judge one, unless that is done; returns whether it counts."""
        verdict = self.results.known(mutant)
        if verdict is None:
            verdict = self._verdict(mutant)
            self.results.add(mutant, verdict)
        return verdict["status"] not in UNCOUNTED

    def _verdict(self, mutant: Mutant) -> dict[str, str]:
        changed = {name: self.sources[name] for name in affected(mutant.file, self.sources)}
        artifacts = self.compile({**changed, mutant.file: mutant.applied(changed[mutant.file])})
        if artifacts is None:
            return {"status": "invalid"}
        if all(self.unchanged[name] == artifact for name, artifact in artifacts.items()):
            return {"status": "same"}
        if why := self.results.before.get(mutant.key, {}).get("why"):
            return {"status": "equivalent", "why": why}
        killer = self.killer(artifacts, self.results.killers(mutant.file))
        return {"status": "killed", "by": killer} if killer else {"status": "survived"}

    def compile(self, sources: Mapping[str, str]) -> dict[str, dict[str, Any]] | None:
        """The artifacts by the name of their contract; None where a source does not compile.

        Without the optimiser, which takes longer than most mutants live.
        """
        settings = {**SETTINGS, "optimizer": {"enabled": False}, "outputSelection": dict.fromkeys(sources, WANTED)}
        contents = {name: {"content": text} for name, text in sources.items()}
        compiler = self.compilers.get()
        try:
            output = compiler.answer({"language": "Solidity", "sources": contents, "settings": settings})
        finally:
            self.compilers.put(compiler)
        if any(error["severity"] == "error" for error in output.get("errors", [])):
            return None
        return {
            name: {"abi": made["abi"], **{code: "0x" + made["evm"][code]["object"] for code in CODES}}
            for contracts in output["contracts"].values()
            for name, made in contracts.items()
        }

    def killer(self, artifacts: Mapping[str, dict[str, Any]], first: Sequence[str]) -> str:
        """The id of the first test that fails on these artifacts, or does not end; empty if all pass."""
        tests = self.tests.get()
        try:
            tests.send((artifacts, first))
            return str(tests.recv())
        except (BrokenPipeError, EOFError):
            raise SystemExit(f"the tests cannot be collected: run pytest in {WORK / 'tree'}") from None
        finally:
            self.tests.put(tests)


# ---------------------------------------------------------------- results


class Results:
    """Verdicts: in a journal while it goes on, in solidity.json at the end."""

    def __init__(self, contracts: Mapping[str, dict[str, Any]], survivors: bool) -> None:
        folder = REPOSITORY / "tests" / "contracts"
        self.tests = {f"tests/contracts/{file.name}": file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
        self.journal = WORK / f"judged-{digest_of(contracts)}.jsonl"
        self.lock = threading.Lock()
        written = json.loads(RESULTS.read_text(encoding="utf-8"))["mutants"] if RESULTS.exists() else []
        self.before: dict[Key, dict[str, Any]] = {key_of(entry): entry for entry in written}
        self.verdicts: dict[Key, dict[str, str]] = {}
        self.entries: dict[Key, dict[str, Any]] = {}
        if survivors:  # the others stay as they were
            self.entries = {key: entry for key, entry in self.before.items() if entry["status"] != "survived"}
        if self.journal.exists():
            lines = map(json.loads, self.journal.read_text(encoding="utf-8").splitlines())
            self.verdicts = {tuple(key): verdict for key, verdict, seen in lines if seen == self._seen(verdict)}

    def survived(self, mutant: Mutant) -> bool:
        """Return True if it did at last."""
        return self.before.get(mutant.key, {}).get("status") == "survived"

    def known(self, mutant: Mutant) -> dict[str, str] | None:
        """The verdict on a mutant, if there is one."""
        verdict = self.verdicts.get(mutant.key)
        if verdict is not None:
            self._enter(mutant, verdict)
        return verdict

    def add(self, mutant: Mutant, verdict: dict[str, str]) -> None:
        """Keep a verdict, and show it."""
        if verdict["status"] != "equivalent":  # what is written by hand may be taken back by hand
            self.keep(mutant.key, verdict)
        self._enter(mutant, verdict)
        print(f"{verdict['status']:11}{mutant.function}: {one_line(mutant.becomes)[:90]}", flush=True)

    def keep(self, key: Key, verdict: dict[str, str]) -> None:
        """Add a line to the journal."""
        with self.lock, self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, verdict, self._seen(verdict)]) + "\n")

    def _seen(self, verdict: dict[str, str]) -> str:
        """Return the tests that a verdict stands on: those of the killer's file, or all."""
        if verdict["status"] in UNCOUNTED:
            return ""
        file = verdict.get("by", "").partition("::")[0]
        return digest_of({file: self.tests[file]} if file in self.tests else self.tests)

    def _enter(self, mutant: Mutant, verdict: dict[str, str]) -> None:
        if verdict["status"] in UNCOUNTED:
            return
        file, function, was, becomes, nth = mutant.key
        entry: dict[str, Any] = {
            "file": file,
            "in": function,
            "operator": mutant.operator,
            "was": was,
            "is": becomes,
            **verdict,
        }
        if nth > 1:
            entry["nth"] = nth
        with self.lock:
            self.entries[mutant.key] = entry

    def killers(self, file: str) -> list[str]:
        """The tests that have killed most, before all others those that killed mutants of the same file."""
        with self.lock:
            known = [*self.before.values(), *self.entries.values()]
        kills = collections.Counter((entry["file"] == file, entry["by"]) for entry in known if "by" in entry)
        return [test for (_, test), _ in sorted(kills.items(), key=lambda kill: (not kill[0][0], -kill[1]))]

    def score(self) -> dict[str, Any]:
        """Count each status, and how many in a hundred are killed of those that are not equivalent."""
        count = collections.Counter(entry["status"] for entry in self.entries.values())
        percent = round(100 * count["killed"] / max(count["killed"] + count["survived"], 1), 1)
        return {**{status: count[status] for status in ("killed", "survived", "equivalent")}, "percent": percent}

    def write(self) -> None:
        """Bring solidity.json up to date."""
        drawn = sum(entry["operator"] != BY_HAND for entry in self.entries.values())
        tool = f"slither-mutate {slither.VERSION}, a sample of {drawn} with seed {SEED}, and solidity.toml"
        lines = ",\n".join(json.dumps(self.entries[key], ensure_ascii=False) for key in sorted(self.entries))
        head = f'"tool": {json.dumps(tool)},\n"score": {json.dumps(self.score())},\n"mutants": [\n{lines}\n]'
        write_atomically(RESULTS, f"{{\n{head}\n}}\n".encode())


def key_of(entry: dict[str, Any]) -> Key:
    """The key of the mutant of an entry."""
    return entry["file"], entry["in"], entry["was"], entry["is"], entry.get("nth", 1)


if __name__ == "__main__":
    sys.exit(main())
