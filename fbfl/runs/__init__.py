"""Runs: played, kept in a folder, opened again."""
