import pytest

from fbfl.chain.embedded.chain import start_chain
from fbfl.chain.remote import RemoteNode, accounts_of
from fbfl.errors import InvalidInputError


def test_known_keys_are_for_local_networks() -> None:
    with pytest.raises(InvalidInputError, match=r"chain \d+ is not a local network"):
        accounts_of([RemoteNode(start_chain().w3)], 3)
