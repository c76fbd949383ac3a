"""Flower apps as trainers: read, prepared, run in a process with an environment of their own, and asked for updates."""
