"""Step 4: the ways to consensus, which each task chooses from."""

from fbfl.chain.deploy import Deployment
from fbfl.chain.headers import proof_of_work


def run(deployment: Deployment) -> None:
    """Deploy them, and let them slash.

    No contract can see whether a block is sealed, so the election by miners is deployed only where the blocks so far
    carry valid seals, or where somebody wants a mock of it.
    """
    names = ["PowPuzzle", "PbftCommittee"]
    if deployment.mock_ethash or proof_of_work(deployment.w3):
        names.append("EthashElection")
    for name in names:
        consensus = deployment.contract(name, deployment.addresses["FederatedTasks"])
        deployment.grant("MECRegistry", "SLASHER_ROLE", consensus)
