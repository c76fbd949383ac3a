"""One chain with one deployment for all contract tests; each test ends where it began."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contracts.deployment import Deployment, deploy
from tests.contracts.evm import Account, Chain
from tests.contracts.federation import Federation, Settings


@pytest.fixture(scope="session")
def shared_deployment() -> Deployment:
    return deploy(Chain(accounts=120))


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Iterator[Deployment]:
    before = shared_deployment.chain.snapshot()
    yield shared_deployment
    shared_deployment.chain.revert(before)


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
