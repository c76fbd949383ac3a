"""fbfl: federated learning in mobile edge computing, coordinated by Ethereum contracts."""

__version__ = "0.1.0"
