"""Federations whose updates are published in fewer bits."""

from pathlib import Path
from typing import Any

import pytest

from fbfl.audit import audit
from fbfl.storage.payload import encode
from tests.support.federations import federation


@pytest.mark.parametrize("codec", ["float16", "int8"])
def test_a_federation_with_smaller_updates_learns_and_its_audit_passes(tmp_path: Path, codec: Any) -> None:
    fed = federation(tmp_path, payload=codec, consensus="pbft", learning_rate=0.01, local_epochs=2)
    *_, last = fed.rounds()
    assert last.record.status == "final"
    assert last.accuracy > 0.6
    whole = len(encode(fed.plan.spec, fed.weights))
    assert last.record.model_size == whole
    share = {"float16": 0.55, "int8": 0.35}[codec]
    assert all(update.size < share * whole and update.included for update in last.record.updates)
    assert audit(fed.ledger, fed.store, fed.task).passed
