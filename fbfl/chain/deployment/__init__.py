"""Deploying the contracts, step by step, and what is known of them afterwards."""
