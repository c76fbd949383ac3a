"""Puts real Ethereum and IPFS nodes of pinned versions into .tools/bin, from the package registries.

    python tools/install_nodes.py [NAME...]

Anvil and Ganache come from npm, geth and Kubo are built with Go. Names every component as available or not, and why.
What is there in its version already is left alone. With CI=true in the environment a component that cannot be had
fails the run, unless tests/integration/unavailable.toml names it with the reason.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = CHECKOUT / "tools" / "nodes"
TOOLS = CHECKOUT / ".tools"
BIN = TOOLS / "bin"
UNAVAILABLE = CHECKOUT / "tests" / "integration" / "unavailable.toml"
GETH = "1.11.6"


class UnavailableError(Exception):
    """A component cannot be had here; the message says why."""


@dataclass(frozen=True)
class Component:
    """A program, the version wanted, how it tells its version, and how to get it."""

    program: str
    version: str
    asked: Sequence[str]
    install: Callable[[], None]


def main(names: Sequence[str]) -> int:
    """Install the components of these names, or all; returns the exit status."""
    unknown = set(names) - set(COMPONENTS)
    if unknown:
        print(f"{', '.join(sorted(unknown))}: allowed are {', '.join(COMPONENTS)}", file=sys.stderr)
        return 2
    BIN.mkdir(parents=True, exist_ok=True)
    listed: Mapping[str, str] = tomllib.loads(UNAVAILABLE.read_text())
    failed = False
    for name in names or COMPONENTS:
        component = COMPONENTS[name]
        try:
            _ensure(name, component)
        except UnavailableError as problem:
            print(f"{name} {component.version}: not available: {listed.get(name) or problem}", flush=True)
            failed |= name not in listed
        else:
            print(
                f"{name} {component.version}: available ({(BIN / component.program).relative_to(CHECKOUT)})", flush=True
            )
    return 1 if failed and os.environ.get("CI") == "true" else 0


def _ensure(name: str, component: Component) -> None:
    if _version_of(component) == component.version:
        return
    print(f"{name} {component.version}: installing", flush=True)
    component.install()
    found = _version_of(component)
    if found != component.version:
        raise UnavailableError(f"what was installed says that its version is {found}")


def _version_of(component: Component) -> str | None:
    try:
        answer = _run([str(BIN / component.program), *component.asked], timeout=60)
    except UnavailableError:
        return None
    version = re.search(r"\d+\.\d+\.\d+", answer)
    return version[0] if version else None


def _install_from_npm() -> None:
    folder = TOOLS / "npm"
    folder.mkdir(exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / file, folder)
    # The interpreter's own folder comes last: a package may have put a Node there.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    npm, node = (shutil.which(program, path=path) for program in ("npm", "node"))
    if npm is None or node is None:
        raise UnavailableError("it comes from npm, and there is no Node on PATH")
    environment = {"PATH": os.pathsep.join([str(Path(node).parent), path])}
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    _run([npm, "ci", *options], folder=folder, environment=environment, timeout=600)
    modules = folder / "node_modules"
    _script("anvil", [modules / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"])
    _script("ganache", [Path(node), modules / "ganache" / "dist" / "node" / "cli.js"])


def _script(name: str, command: Sequence[Path]) -> None:
    """A program in `BIN` that becomes another one: a link would leave Ganache to look for a Node on PATH."""
    quoted = " ".join(f"'{part}'" for part in command)
    (BIN / name).write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    (BIN / name).chmod(0o755)


def _build_geth() -> None:
    # One of its dependencies reaches into the runtime, which the linker of Go 1.23 and newer allows on request only.
    newer = tuple(map(int, re.findall(r"\d+", _run([_go(), "env", "GOVERSION"]))[:2])) >= (1, 23)
    flags = ["-ldflags=-checklinkname=0"] if newer else []
    _build(["install", *flags, f"github.com/ethereum/go-ethereum/cmd/geth@v{GETH}"], CHECKOUT)


def _build_kubo() -> None:
    # Its version, and those of all that it needs, are in go.mod and go.sum there.
    _build(["install", "-trimpath", "github.com/ipfs/kubo/cmd/ipfs"], SOURCES / "kubo")


def _build(arguments: Sequence[str], folder: Path) -> None:
    print("  building it takes minutes", flush=True)
    _run([_go(), *arguments], folder=folder, environment={"GOBIN": str(BIN)}, timeout=3000)


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise UnavailableError("it is built with Go, and there is no go on PATH")
    return go


def _run(
    command: Sequence[str],
    *,
    folder: Path = CHECKOUT,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> str:
    """What the command prints; `UnavailableError` with its last line if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise UnavailableError(" / ".join(said[-3:]))
    return done.stdout


COMPONENTS = {
    "anvil": Component("anvil", "1.7.1", ["--version"], _install_from_npm),
    "ganache": Component("ganache", "7.9.2", ["--version"], _install_from_npm),
    "geth": Component("geth", GETH, ["version"], _build_geth),
    "kubo": Component("ipfs", "0.41.0", ["--version"], _build_kubo),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
