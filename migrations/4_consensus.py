"""Step 4: the ways to consensus, which each task chooses from."""

from fbfl.chain.deployment.steps import Deployment


def run(deployment: Deployment) -> None:
    """Deploy them, and let them slash.

    No contract can see whether a block is sealed, so the election by miners is deployed only where the blocks so far
    carry valid seals, or where somebody wants a mock of it.
    """
    names = ["PowPuzzle", "PbftCommittee"]
    if deployment.elects_miners():
        names.append("EthashElection")
    for name in names:
        consensus = deployment.contract(name, deployment.addresses["FederatedTasks"])
        deployment.grant("MECRegistry", "SLASHER_ROLE", consensus)


def main() -> None:
    """With Brownie: the steps up to this one."""
    from migrations.with_brownie import run_up_to

    run_up_to(__file__)
