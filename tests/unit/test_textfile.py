"""Texts from any editor, or a line that names the file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError
from fbfl.system.textfile import read_text, toml_in


@given(st.text().filter(lambda text: not text.startswith("\ufeff")), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_text_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str) -> None:
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_bytes(text.encode(encoding))
    assert read_text(path, "it") == text


@pytest.mark.parametrize("data", ["Tür".encode("cp1252"), b"\xff\xfea", b"\x00\xd8a"])
def test_what_is_no_text_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"--config x: cannot be read: byte \d is not utf-.*saved as UTF-8"):
        read_text(tmp_path / "x", "--config x")
    for absent, why in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidInputError, match=f"--config x: cannot be read: {why}"):
            read_text(absent, "--config x")


@pytest.mark.parametrize(
    "text", ["a = ", "a = " + "9" * 5_000, "a = 0x" + "f" * 5_000, "a = " + "[" * 50_000, "a = 2022-02-30"]
)
def test_what_is_no_toml_is_named(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--config x: not TOML: "):
        toml_in(text, "--config x")
