"""The `fbfl` command: one module per group of commands, all answering through exit statuses and one-line errors."""

from fbfl.cli.main import main

__all__ = ["main"]
