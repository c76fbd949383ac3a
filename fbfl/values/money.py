"""Amounts of money as people write them: wei, gwei, ether."""

import re

_UNITS = {"": 1, "wei": 1, "gwei": 10**9, "ether": 10**18}
_AMOUNT = re.compile(r"(-?[0-9]{1,40}(?:\.[0-9]{1,40})?) ?(|wei|gwei|ether)")


def wei(text: str) -> int | None:
    """Return the wei of `0.01 ether`, `5 gwei` or `-100`; None if it is not an amount, or not a whole number of wei."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        return None
    number, unit = match.groups()
    whole, _, part = number.partition(".")
    scaled = int(whole + part) * _UNITS[unit]
    amount, rest = divmod(scaled, 10 ** len(part))
    return None if rest else amount


def text(amount: int) -> str:
    """Return an amount of wei as text: in ether if six decimals hold it, else in wei."""
    ether = f"{amount / 10**18:.6f}".rstrip("0").rstrip(".") + " ether"
    return ether if amount and wei(ether) == amount else f"{amount} wei"
