import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st
from web3.contract import Contract
from web3.types import Wei

from fbfl.chain.artifacts import Artifact
from fbfl.chain.embedded.chain import EmbeddedChain, default_genesis, open_chain, start_chain
from fbfl.chain.embedded.export import ChainWriter, import_chain, parse_genesis, render_genesis
from fbfl.chain.embedded.pin import ChainHead, read_head
from fbfl.errors import ChainImportError, StorageError
from tests.support.federations import set_miner
from tests.unit.chain.ledger_contract import deploy_ledger


@dataclasses.dataclass(frozen=True)
class Exported:
    folder: Path
    head: ChainHead
    chain: EmbeddedChain
    ledger: Contract

    def copy(self, to: Path) -> "Exported":
        shutil.copytree(self.folder, to, dirs_exist_ok=True)
        return dataclasses.replace(self, folder=to)

    @property
    def blocks(self) -> Path:
        return self.folder / "chain.rlp"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, ledger_artifact: Artifact) -> Exported:
    """A chain whose blocks depend on their own header: coinbase, time, several transactions, time travel."""
    chain = start_chain(3)
    folder = tmp_path_factory.mktemp("chain")
    writer = ChainWriter(folder, chain)
    ledger = deploy_ledger(chain, ledger_artifact)
    writer.flush()
    set_miner(chain, chain.accounts[2])
    ledger.functions.observe().transact({"gas": 200_000})
    chain.travel(500)
    with chain.one_block():
        ledger.functions.enter(7).transact({"gas": 100_000})
        ledger.functions.enter(8).transact({"gas": 100_000, "gasPrice": Wei(10**10), "from": chain.accounts[1]})
    return Exported(folder, writer.flush(), chain, ledger)


def contract_of(exported: Exported, chain: EmbeddedChain) -> Contract:
    return chain.w3.eth.contract(address=exported.ledger.address, abi=exported.ledger.abi)


def test_a_chain_comes_back_with_state_logs_and_a_future(exported: Exported) -> None:
    chain = import_chain(exported.folder, exported.head)
    assert chain.snapshot() == exported.chain.snapshot()
    assert chain.accounts == exported.chain.accounts
    ledger = contract_of(exported, chain)
    assert ledger.functions.total().call() == 15
    assert ledger.functions.coinbase().call() == chain.accounts[2]
    assert [log["args"]["value"] for log in ledger.events.Entered().get_logs(from_block=0)] == [7, 8]
    ledger.functions.enter(9).transact({"gas": 100_000})
    assert ledger.functions.total().call() == 24


def test_a_chain_of_former_versions_opens_with_its_own_difficulty(tmp_path: Path) -> None:
    chain = open_chain(default_genesis(2, difficulty=1))
    chain.mine(2)
    chain.travel(100)
    head = ChainWriter(tmp_path, chain).flush()
    reopened = import_chain(tmp_path, head)
    reopened.mine()
    assert [reopened.w3.eth.get_block(number)["difficulty"] for number in range(5)] == [1] * 5


def test_blocks_follow_londons_difficulty_so_that_other_nodes_execute_them(exported: Exported) -> None:
    first, *rest = (exported.chain.w3.eth.get_block(number) for number in range(exported.head.number + 1))
    assert first["difficulty"] == 131_072
    for block in rest:
        before = exported.chain.w3.eth.get_block(block["number"] - 1)
        # EIP-100 without uncles, far from any bomb.
        steps = max(1 - (block["timestamp"] - before["timestamp"]) // 9, -99)
        assert block["difficulty"] == max(before["difficulty"] + before["difficulty"] // 2048 * steps, 131_072)


def test_the_head_pins_every_file(exported: Exported) -> None:
    assert read_head(exported.folder) == exported.head
    assert exported.head.number == exported.chain.w3.eth.block_number == 4
    assert exported.head.hash == exported.chain.w3.eth.get_block("latest")["hash"].to_0x_hex()
    assert ChainHead.from_json(json.loads(json.dumps(exported.head.to_json()))) == exported.head


@settings(max_examples=40)
@given(data=st.data())
def test_no_bit_of_the_blocks_can_change(
    exported: Exported, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    copy = exported.copy(tmp_path_factory.mktemp("copy"))
    content = bytearray(copy.blocks.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    copy.blocks.write_bytes(content)
    with pytest.raises(ChainImportError, match=r"block \d"):
        import_chain(copy.folder, exported.head)


@settings(max_examples=20)
@given(data=st.data())
def test_no_bit_of_the_genesis_can_change(
    exported: Exported, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    copy = exported.copy(tmp_path_factory.mktemp("copy"))
    file = copy.folder / "genesis.json"
    content = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    with pytest.raises(ChainImportError):
        import_chain(copy.folder, exported.head)


def last_block(exported: Exported) -> tuple[bytes, list[bytes], list[object]]:
    """The bytes before the last block, its header fields and the rest of it."""
    content = exported.blocks.read_bytes()
    start = len(content) - len(rlp.encode(exported.chain.chain.get_canonical_block_by_number(4)))  # type: ignore[arg-type]
    header, *rest = rlp.decode(content[start:])
    return content[:start], list(header), rest


def test_even_a_forged_head_is_refused_by_the_record_kept_apart(exported: Exported, tmp_path: Path) -> None:
    copy = exported.copy(tmp_path)
    before, header, rest = last_block(exported)
    header[12] = b"forged"  # extra data, which nothing depends on
    forged = before + rlp.encode([header, *rest])
    copy.blocks.write_bytes(forged)
    with pytest.raises(ChainImportError, match="block 4 is not the recorded head: its hash"):
        import_chain(copy.folder, dataclasses.replace(exported.head, size=len(forged)))


def test_a_replaced_transaction_is_refused_by_execution(exported: Exported, tmp_path: Path) -> None:
    copy = exported.copy(tmp_path)
    before, header, rest = last_block(exported)
    transactions = rest[0]
    assert isinstance(transactions, list)
    copy.blocks.write_bytes(before + rlp.encode([header, transactions[::-1], *rest[1:]]))
    with pytest.raises(ChainImportError, match="block 4 does not execute again"):
        import_chain(copy.folder, exported.head)


@pytest.mark.parametrize("kept", [0, 1, 600, -1])
def test_a_cut_file_is_refused(exported: Exported, tmp_path: Path, kept: int) -> None:
    copy = exported.copy(tmp_path)
    copy.blocks.write_bytes(copy.blocks.read_bytes()[:kept])
    with pytest.raises(ChainImportError, match=r"holds no block|block \d .*(Long list|not whole)"):
        import_chain(copy.folder, exported.head)


def test_a_missing_last_block_is_refused(exported: Exported, tmp_path: Path) -> None:
    copy = exported.copy(tmp_path)
    copy.blocks.write_bytes(last_block(exported)[0])
    with pytest.raises(ChainImportError, match="block 3 is not the recorded head: its number is 3, recorded is 4"):
        import_chain(copy.folder, exported.head)


def test_what_a_killed_run_was_writing_does_not_matter(exported: Exported, tmp_path: Path) -> None:
    copy = exported.copy(tmp_path)
    with copy.blocks.open("ab") as file:
        file.write(b"\xf9\x02\x00half a block")
    assert import_chain(copy.folder).snapshot() == exported.chain.snapshot()


@pytest.mark.parametrize("name", ["genesis.json", "chain.rlp", "head.json"])
def test_a_missing_file_is_named(exported: Exported, tmp_path: Path, name: str) -> None:
    copy = exported.copy(tmp_path)
    (copy.folder / name).unlink()
    with pytest.raises(ChainImportError, match=f"cannot read .*{name}: No such file"):
        import_chain(copy.folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"number": 1}', '{"number": "4"}'])
def test_a_damaged_head_is_refused(exported: Exported, tmp_path: Path, content: str) -> None:
    copy = exported.copy(tmp_path)
    (copy.folder / "head.json").write_text(content)
    with pytest.raises(ChainImportError, match=r"damaged|has the keys"):
        import_chain(copy.folder)


def test_every_flush_leaves_a_chain_that_opens_and_reverted_blocks_leave_it(tmp_path: Path) -> None:
    chain = start_chain(1)
    writer = ChainWriter(tmp_path, chain)
    for _ in range(3):
        chain.mine(2)
        writer.flush()
        assert import_chain(tmp_path).snapshot() == chain.snapshot()
    before = chain.snapshot()
    chain.mine(3)
    writer.flush()
    chain.revert(before)
    chain.travel(9)
    assert writer.flush().number == 7
    assert import_chain(tmp_path).snapshot() == chain.snapshot()
    chain.revert(before)
    assert writer.flush().number == 6
    assert import_chain(tmp_path).snapshot() == before
    assert writer.flush() == writer.flush()


def test_a_new_run_replaces_the_files_of_an_old_one(exported: Exported, tmp_path: Path) -> None:
    exported.copy(tmp_path)
    writer = ChainWriter(tmp_path, start_chain(1))
    with pytest.raises(ChainImportError, match=r"head\.json"):
        import_chain(tmp_path)
    assert writer.flush().number == 0
    assert import_chain(tmp_path).w3.eth.block_number == 0


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot write the chain to .*file/run: Not a directory"):
        ChainWriter(tmp_path / "file" / "run", start_chain(1))
    writer = ChainWriter(tmp_path / "run", start_chain(1))
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(StorageError, match="No such file"):
        writer.flush()


def test_the_genesis_file_has_one_form(exported: Exported) -> None:
    data = render_genesis(exported.chain.genesis)
    assert parse_genesis(data) == exported.chain.genesis
    assert json.loads(data)["config"]["londonBlock"] == 0
    for other in (data + b"\n", data.replace(b'"none"', b'"clique"')):
        with pytest.raises(ChainImportError, match="not a genesis that fbfl wrote"):
            parse_genesis(other)
