from types import SimpleNamespace
from typing import cast

import ethash
import pytest
import rlp
from eth_hash.auto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.datastructures import AttributeDict
from web3.types import BlockData

from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.embedded.ethash import EthashNetwork
from fbfl.chain.headers import header_rlp, proof_of_work
from fbfl.errors import ChainError
from tests.support.federations import set_miner


def test_the_header_hashes_to_the_block_and_holds_the_coinbase(chain: EmbeddedChain) -> None:
    set_miner(chain, chain.accounts[4])
    chain.mine()
    block = chain.w3.eth.get_block("latest")
    encoded = header_rlp(block)
    assert keccak(encoded) == bytes(block["hash"])
    assert encoded == rlp.encode(chain.chain.get_canonical_head())
    assert Web3.to_checksum_address(rlp.decode(encoded)[2]) == chain.accounts[4]


MAINNET_1 = cast(
    BlockData,
    AttributeDict(
        {
            "parentHash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
            "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
            "miner": "0x05a56E2D52c817161883f50c441c3228CFe54d9f",
            "stateRoot": "0xd67e4d450343046425ae4271474353857ab860dbc0a1dde64b41b5cd3a532bf3",
            "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
            "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
            "logsBloom": HexBytes(bytes(256)),
            "difficulty": 17171480576,
            "number": 1,
            "gasLimit": 5000,
            "gasUsed": 0,
            "timestamp": 1438269988,
            "extraData": HexBytes("0x476574682f76312e302e302f6c696e75782f676f312e342e32"),
            "mixHash": HexBytes("0x969b900de27b6ac6a67742365dd65f55a0526c41fd18e1b16f1a1215c2e66f59"),
            "nonce": HexBytes("0x539bd4979fef1ec4"),
            "hash": HexBytes("0x88e96d4537bea4d9c05d12549907b32561d3bf31f45aae734cdc119f13406cb6"),
        }
    ),
)


def test_a_header_from_before_london_as_geth_answers_it() -> None:
    """Mainnet's block 1, whose extra data is not empty."""
    encoded = header_rlp(MAINNET_1)
    assert len(rlp.decode(encoded)) == 15
    assert rlp.decode(encoded)[12] == b"Geth/v1.0.0/linux/go1.4.2"


def test_a_header_that_does_not_fit_its_hash_is_refused(chain: EmbeddedChain) -> None:
    block = AttributeDict({**chain.w3.eth.get_block("latest"), "gasUsed": 1})
    with pytest.raises(ChainError, match=f"the header of block {block['number']} does not have the hash"):
        header_rlp(block)  # type: ignore[arg-type]


def test_a_chain_without_seals_is_told_before_ethash_makes_its_cache(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine()
    with monkeypatch.context() as patch:
        patch.setattr(ethash, "verify", None)
        assert not proof_of_work(chain.w3)


@pytest.mark.parametrize(("changes", "sealed"), [({}, True), ({"gasUsed": 1}, False)])
def test_before_london_there_was_proof_of_work_and_a_header_of_another_kind_is_none(
    changes: dict[str, int], sealed: bool
) -> None:
    block = AttributeDict({**MAINNET_1, **changes})
    w3 = SimpleNamespace(eth=SimpleNamespace(block_number=1, get_block=lambda number: block))
    assert proof_of_work(cast(Web3, w3)) is sealed


def test_a_chain_with_proof_of_work_is_told_from_one_without() -> None:
    network = EthashNetwork(accounts=2, nodes=1, difficulty=2)
    node = network.nodes[0]
    assert not proof_of_work(node.w3)
    node.mine(2)
    assert proof_of_work(node.w3)
