"""Step 4: the three ways to consensus, which each task chooses from."""

from fbfl.chain.deploy import Deployment


def run(deployment: Deployment) -> None:
    """Deploy them, and let them slash."""
    for name in ("PowPuzzle", "PbftCommittee", "EthashElection"):
        consensus = deployment.contract(name, deployment.addresses["FederatedTasks"])
        deployment.grant("MECRegistry", "SLASHER_ROLE", consensus)
