"""One deployment for all contract tests; each test ends where it began.

Most run on revm where that is installed. Tests marked `blocks` need what only real blocks have.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.contracts.abi import Account, Chain
from tests.contracts.blocks import BlockChain
from tests.contracts.deployment import Deployment, deploy
from tests.contracts.federation import Federation, Settings

ACCOUNTS = 120


@pytest.fixture(scope="session")
def deployment_in_blocks() -> Deployment:
    return deploy(BlockChain(ACCOUNTS))


@pytest.fixture(scope="session")
def quick_deployment(request: pytest.FixtureRequest) -> Deployment:
    if find_spec("pyrevm") is None:
        in_blocks: Deployment = request.getfixturevalue("deployment_in_blocks")
        return in_blocks
    from tests.contracts.revm import Revm

    return deploy(Revm(ACCOUNTS))


@pytest.fixture
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    in_blocks = request.node.get_closest_marker("blocks") is not None
    shared: Deployment = request.getfixturevalue("deployment_in_blocks" if in_blocks else "quick_deployment")
    before = shared.chain.snapshot()
    yield shared
    shared.chain.revert(before)


@pytest.fixture
def chain(deployment: Deployment) -> Chain:
    return deployment.chain


@pytest.fixture
def owner(deployment: Deployment) -> Account:
    return deployment.owner


@pytest.fixture
def servers(deployment: Deployment) -> list[Account]:
    """Accounts that own nothing but their wealth yet: all but the deployment's owner."""
    return deployment.chain.accounts[1:]


@pytest.fixture
def found(deployment: Deployment, servers: list[Account]) -> Callable[..., Federation]:
    """`found(members, **settings)`: a task with that many members."""

    def found_federation(members: int = 4, **settings: Any) -> Federation:
        return Federation(deployment, Settings(**settings), servers[:members])

    return found_federation
