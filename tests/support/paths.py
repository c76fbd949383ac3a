"""Places that tests read from."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
