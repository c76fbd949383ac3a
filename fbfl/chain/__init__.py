"""The round ledger: networks, contracts and consensus. It knows nothing of models."""

import os

# Else eth_hash takes the first that is installed, pycryptodome, whose keccak takes six times as long as this one in C.
os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")
