"""The round ledger: networks, contracts and consensus. It knows nothing of models."""
