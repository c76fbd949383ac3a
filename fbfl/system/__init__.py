"""Parts that concern the machine alone: neither federated learning nor chains."""
