"""The `fbfl` command: one module per group of commands, with exit statuses and errors of one line."""

try:
    from fbfl.cli.main import main
except KeyboardInterrupt:  # Ctrl-C, as early as it can be handled
    raise SystemExit(130) from None

__all__ = ["main"]
