"""Experiments: declared in TOML, run through the whole system with several seeds, kept, drawn and judged."""
