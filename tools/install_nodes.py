"""Puts real Ethereum and IPFS nodes of pinned versions into .tools/bin, from the package registries.

    python tools/install_nodes.py [NAME...]

Anvil and Ganache come from npm, geth and Kubo are built with Go. Brownie, under which the deployment steps are tested
too, gets a virtual environment of its own. Names every component as available or not, and why. What is there in its
version already is left alone. With CI=true in the environment a component that cannot be had fails the run, unless
tests/integration/unavailable.toml names it with the reason.
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
    """A program in `BIN`, the version wanted, the command that tells it, and how to get it."""

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
        answer = _run(component.asked, timeout=60)
    except UnavailableError:
        return None
    version = re.search(r"\d+\.\d+\.\d+", answer)
    return version[0] if version else None


def _install_from_npm() -> None:
    folder = TOOLS / "npm"
    folder.mkdir(exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / file, folder)
    _npm_ci(folder)
    modules = folder / "node_modules"
    _script(BIN / "anvil", [modules / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"])
    _script(BIN / "ganache", [_node(), modules / "ganache" / "dist" / "node" / "cli.js"])


def _install_brownie() -> None:
    if not (CHECKOUT / "node_modules" / "solc").exists():
        _npm_ci(CHECKOUT)  # the compiler, and what the contracts import
    environment = TOOLS / "brownie"
    _run([sys.executable, "-m", "venv", "--clear", str(environment)], timeout=120)
    options = ["--quiet", "--disable-pip-version-check"]
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", *options]
    _run([*pip, "-r", str(SOURCES / "brownie.txt")], timeout=1200)
    compilers = environment / "solc"
    compilers.mkdir()
    _script(compilers / "solc-v0.8.37", [_node(), CHECKOUT / "tools" / "solc.js"])
    settings = f"PATH='{BIN}':\"$PATH\" SOLCX_BINARY_PATH='{compilers}' "
    _script(BIN / "brownie", [environment / "bin" / "brownie"], settings)


def _npm_ci(folder: Path) -> None:
    """Install what the folder's lock file names."""
    node = _node()
    npm = shutil.which("npm", path=f"{node.parent}{os.pathsep}{_path()}")
    if npm is None:
        raise UnavailableError("it comes from npm, and there is none on PATH")
    environment = {"PATH": f"{node.parent}{os.pathsep}{_path()}"}
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    _run([npm, "ci", *options], folder=folder, environment=environment, timeout=600)


def _node() -> Path:
    node = shutil.which("node", path=_path())
    if node is None:
        raise UnavailableError("it comes from npm, and there is no Node on PATH")
    return Path(node)


def _path() -> str:
    # The interpreter's own folder comes last: a package may have put a Node there.
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])


def _script(file: Path, command: Sequence[Path], settings: str = "") -> None:
    """A program that becomes another one: a link would leave Ganache to look for a Node on PATH."""
    quoted = " ".join(f"'{part}'" for part in command)
    file.write_text(f'#!/bin/sh\n{settings}exec {quoted} "$@"\n')
    file.chmod(0o755)


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
    "anvil": Component("anvil", "1.7.1", [f"{BIN}/anvil", "--version"], _install_from_npm),
    "ganache": Component("ganache", "7.9.2", [f"{BIN}/ganache", "--version"], _install_from_npm),
    "geth": Component("geth", GETH, [f"{BIN}/geth", "version"], _build_geth),
    "kubo": Component("ipfs", "0.41.0", [f"{BIN}/ipfs", "--version"], _build_kubo),
    # What it says of itself is another version than that of the package.
    "brownie": Component(
        "brownie", "1.22.2", [f"{TOOLS}/brownie/bin/python", "-m", "pip", "show", "eth-brownie"], _install_brownie
    ),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
