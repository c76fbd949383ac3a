"""Federated learning and attacks on it, without a blockchain: usable alone, and used by the servers of one."""
