"""Users' text in a Markdown file, shown letter by letter: never markup, HTML or the end of a cell."""

import re


def plain(text: str) -> str:
    """Return the text on one line, with a backslash before what could be markup."""
    # & starts an entity only before # or a letter, and _ is no markup within a word.
    special = r"([\\`*\[\]<>|~$]|&(?=[#a-zA-Z])|(?<!\w)_|_(?!\w))"
    return " ".join(re.sub(special, r"\\\1", text).split())


def code(text: str) -> str:
    """Return the text on one line, as code."""
    text = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text[:1] in "` " or text[-1:] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"
