"""Execute the chain of a run again with stock geth: a program by others, which shares no code with fbfl."""

import tempfile
from pathlib import Path

from eth.constants import DIFFICULTY_MINIMUM

from fbfl.chain.embedded.export import parse_genesis
from fbfl.chain.embedded.pin import BLOCKS_FILE, GENESIS_FILE, ChainHead
from fbfl.errors import InvalidInputError, ProcessError
from fbfl.nodes import geth


def execute_with_geth(folder: Path, head: ChainHead, program: str | None = None) -> str | None:
    """Import the exported chain in `folder` into a geth of its own; what is wrong with it, or None.

    `head` is what the run recorded, `program` the path of geth (default: as `find_program` finds it). It compares all
    blocks that geth gives back with those of the export. Seals are not looked at: these chains have none. A difficulty
    that geth does not follow raises `InvalidInputError`, a geth that is missing or too new `ProcessError`.
    """
    found = geth.checked(program)
    genesis = (folder / GENESIS_FILE).read_bytes()
    difficulty = parse_genesis(genesis).header["difficulty"]
    if difficulty < DIFFICULTY_MINIMUM:
        raise InvalidInputError(
            f"--geth: the chain's difficulty is {difficulty}; allowed: from {DIFFICULTY_MINIMUM} on, the protocol's "
            "least (the embedded ethash network and runs of versions before 0.2.0 have less)"
        )
    blocks = (folder / BLOCKS_FILE).read_bytes()[: head.size]
    with tempfile.TemporaryDirectory(prefix="fbfl-geth-") as scratch:
        data, whole, back = Path(scratch, "data"), Path(scratch, "chain.rlp"), Path(scratch, "back.rlp")
        whole.write_bytes(blocks)
        try:
            geth.run(found, "--datadir", str(data), "init", str(folder / GENESIS_FILE))
            geth.run(found, "--datadir", str(data), "--fakepow", "import", str(whole))
        except ProcessError as error:
            return str(error)
        geth.run(found, "--datadir", str(data), "export", str(back))
        if back.read_bytes() != blocks:
            return f"geth comes to another chain than the one that ends in block {head.number}, {head.hash}"
    return None
