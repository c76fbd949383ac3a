"""Texts by others on a terminal."""


def printable(text: str) -> str:
    """Return the text with whatever is no printable character as an escape: terminals obey some of these."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def shortened(line: str, most: int = 4_000) -> str:
    """Return a line of at most `most` signs, without its middle if need be: a value may be a whole file."""
    return line if len(line) <= most else f"{line[: most // 2]} ... {line[5 - most // 2 :]}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s if there is not one of it."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
