"""What has to do with the machine alone: neither with federated learning nor with chains."""
