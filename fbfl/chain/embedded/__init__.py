"""Chains inside this process: eth-tester on py-evm, a network of nodes that mine with ethash, and their files."""
