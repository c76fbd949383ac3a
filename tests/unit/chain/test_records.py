import pytest

from fbfl.chain.records import UpdateRecord
from fbfl.errors import PayloadRefusedError
from fbfl.storage.store import Reference


def update(digest: str) -> UpdateRecord:
    return UpdateRecord(
        server="0x1", seat=0, cid="", digest=digest, size=3, samples=1, included=True, block=1, transaction="0x"
    )


def test_a_record_names_its_payload() -> None:
    known = Reference.to(b"abc")
    assert update("0x" + known.digest.hex()).payload == known


def test_a_record_from_a_file_that_names_no_payload_is_refused_as_a_payload_is() -> None:
    with pytest.raises(PayloadRefusedError, match="'0xzz' is no digest"):
        _ = update("0xzz").payload
