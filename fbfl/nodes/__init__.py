"""Real Ethereum and IPFS nodes on this machine."""
