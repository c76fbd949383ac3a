"""What a word of a contract may hold, for checks of values that come from files and messages."""

from typing import Annotated

from pydantic import ConfigDict, Field

Number = Annotated[int, Field(ge=0, lt=2**256)]
"""A whole number from 0 to 2**256 - 1."""

Uint16 = Annotated[int, Field(ge=0, lt=2**16)]
Uint32 = Annotated[int, Field(ge=0, lt=2**32)]
Word = Annotated[bytes, Field(min_length=32, max_length=32)]

STRICT = ConfigDict(strict=True, extra="forbid", ser_json_bytes="hex", val_json_bytes="hex", str_max_length=100_000)
"""Of dataclasses that are JSON elsewhere: values are of their types exactly, bytes are hex, texts have a bound."""
