"""Federated learning and attacks on it, without a blockchain: usable alone, and what the servers of one run."""
