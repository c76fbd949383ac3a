"""The `fbfl` command: one module per group of commands, all answering through exit statuses and one-line errors."""

try:
    from fbfl.cli.main import main
except KeyboardInterrupt:  # Ctrl-C, as early as it can be answered
    raise SystemExit(130) from None

__all__ = ["main"]
