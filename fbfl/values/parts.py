"""Parts of something, as contracts count them."""

WHOLE = 10_000
"""All of something: shares, penalties and participation are whole numbers of its 1/10,000."""
