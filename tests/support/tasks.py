"""The settings of a task on real contracts."""

from typing import Any

from fbfl.chain.participant import CommitteeRules, TaskSettings, pbft_parameters
from fbfl.storage.store import Reference


def task_settings(**changes: Any) -> TaskSettings:
    """Return those of a task for one member, with these changes."""
    settings: dict[str, Any] = {
        "consensus": "pbft",
        "consensus_params": pbft_parameters(CommitteeRules(byzantine_quorum=True)),
        "rule": "fedavg",
        "rule_params": b"{}",
        "definition": b"{}",
        "model": Reference(bytes(32), 1),
        "max_payload": 1,
        "max_samples": 1,
        "min_members": 1,
        "max_members": 1,
        "min_updates": 1,
        "max_rounds": 1,
    }
    return TaskSettings(**{**settings, **changes})
