"""Many servers behind one account, so that a full committee costs few transactions."""

from tests.contracts.abi import Contract, Receipt, deploy_contract
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import MIN_STAKE, Deployment
from tests.contracts.federation import Federation

_AT_ONCE = 60  # what fits into a block


class Crowd:
    """Servers that are contracts; all do the same."""

    def __init__(self, deployment: Deployment, size: int) -> None:
        self._owner, self.size = deployment.owner, size
        self._contract: Contract = deploy_contract(deployment.chain, compiled_for_tests("Crowd"))
        for first in range(0, size, _AT_ONCE):
            self._contract.grow(min(_AT_ONCE, size - first), by=self._owner, gas=60_000_000)

    def join(self, federation: Federation) -> None:
        """Register with a stake and take seats."""
        self.all(federation.registry, "join", "http://crowd", value=MIN_STAKE)
        self.all(federation.tasks, "join", federation.task)

    def all(
        self, contract: Contract, name: str, *arguments: object, value: int = 0, seats: range | None = None
    ) -> list[Receipt]:
        """Everybody makes this call with this value, or those do whose turn to join was in `seats`."""
        data, receipts, who = contract.encode(name, *arguments), [], seats or range(self.size)
        for first in range(who.start, who.stop, _AT_ONCE):
            end = min(first + _AT_ONCE, who.stop)
            part = (first, end, contract.address, data)
            receipts.append(self._contract.all(*part, by=self._owner, value=value * (end - first), gas=60_000_000))
        return receipts
