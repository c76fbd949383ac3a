"""Seals of blocks: none, or Ethereum's proof of work, ethash."""

import functools
import itertools
from typing import Any

import ethash
from eth.abc import AtomicDatabaseAPI, BlockHeaderAPI, ConsensusAPI
from eth.consensus.noproof import NoProofConsensus
from eth.consensus.pow import PowConsensus
from eth.constants import EPOCH_LENGTH, ZERO_HASH32
from eth_utils.exceptions import ValidationError


class NoSeal(NoProofConsensus):
    """Anyone may write a block."""

    @staticmethod
    def seal(header: BlockHeaderAPI) -> BlockHeaderAPI:
        """Return the header as it is."""
        return header


class EthashSeal(PowConsensus):
    """Real ethash, by the C++ library: py-evm's own is slow and not Ethash (it refuses mainnet's block 1)."""

    def __init__(self, base_db: AtomicDatabaseAPI | None = None) -> None:
        """Take no database: ethash needs none."""

    def validate_seal(self, header: BlockHeaderAPI) -> None:
        """Raise `ValidationError` unless the nonce proves the work for the header's difficulty."""
        # No work gives a mix of zeros; refuse it before the library takes seconds to compute its cache.
        lengths = len(header.mix_hash), len(header.nonce)
        if lengths != (32, 8) or header.difficulty < 1 or header.mix_hash == ZERO_HASH32:
            raise ValidationError(f"block {header.block_number} has no ethash seal")
        number, difficulty = header.block_number, header.difficulty
        if not _proves(number // EPOCH_LENGTH, header.mining_hash, header.mix_hash, header.nonce, difficulty):
            raise ValidationError(f"block {header.block_number} has a wrong ethash seal")

    @staticmethod
    def seal(header: BlockHeaderAPI) -> BlockHeaderAPI:
        """Find the first nonce from 0 on; at difficulty 16 about 0.15 s on one core."""
        sealed = (attempt(header, nonce) for nonce in itertools.count())
        return next(header for header in sealed if header is not None)


@functools.lru_cache(maxsize=1024)
def _proves(epoch: int, mining_hash: bytes, mix_hash: bytes, nonce: bytes, difficulty: int) -> bool:
    """Return True if a seal proves its work, which costs a hash. Several nodes in this process ask the same."""
    limit = boundary(difficulty).to_bytes(32, "big")
    return bool(ethash.verify(epoch, mining_hash, mix_hash, int.from_bytes(nonce, "big"), limit))


SEALS: dict[str, type[ConsensusAPI]] = {"none": NoSeal, "ethash": EthashSeal}


def attempt(header: BlockHeaderAPI, nonce: int) -> BlockHeaderAPI | None:
    """Return the header sealed with this nonce, if it does: one ethash hash, which releases the GIL.

    The first hash of an epoch takes 2-3 s longer, for its cache.
    """
    final, mix = ethash.hash(header.block_number // EPOCH_LENGTH, header.mining_hash, nonce)
    if int.from_bytes(final, "big") > boundary(header.difficulty):
        return None
    seal: dict[str, Any] = {"nonce": nonce.to_bytes(8, "big"), "mix_hash": mix}
    return header.copy(**seal)


def boundary(difficulty: int) -> int:
    """Return the largest hash that proves work of this difficulty."""
    return min(2**256 // difficulty, 2**256 - 1)
