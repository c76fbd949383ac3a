"""Devices are known by tokens, of which servers have the hashes."""

import hashlib
import os
from pathlib import Path

import pytest

from fbfl.errors import InvalidInputError, StorageError
from fbfl.mec.tokens import DeviceTokens, give_tokens, hash_of, read_devices


def test_tokens_are_private_and_their_hashes_let_devices_in(tmp_path: Path) -> None:
    path = tmp_path / "new" / "devices"
    files = give_tokens(path, [3, 10], tmp_path / "secret")
    tokens = [file.read_text().strip() for file in files]
    assert [file.name for file in files] == ["device-3.token", "device-10.token"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert len(set(tokens)) == 2
    assert min(map(len, tokens)) >= 40
    assert not any(token in path.read_text() for token in tokens)
    known = DeviceTokens(path)
    assert [known.device_of(token) for token in tokens] == [3, 10]
    assert [known.device_of(other) for other in ("", "x", hash_of(tokens[0]))] == [None, None, None]


def test_nobody_gets_a_second_token_unasked(tmp_path: Path) -> None:
    path = tmp_path / "devices"
    path.write_text(f"# phones\n1 {hash_of('first')} # Ada's")  # without an end of line
    give_tokens(path, [2], tmp_path)
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="device 1 has a token"):
        give_tokens(path, [5, 1], tmp_path)
    path.write_text(before.decode().replace("\n2 ", "\n7 "))
    with pytest.raises(InvalidInputError, match=r"device-2\.token exists"):
        give_tokens(path, [2], tmp_path)
    assert not (tmp_path / "device-5.token").exists()
    assert DeviceTokens(path).device_of("first") == 1


def test_a_changed_file_counts_at_once_and_a_broken_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "devices"
    path.write_text(f"1 {hash_of('old')}\n1 {hash_of('new').upper()}\n\n")
    known = DeviceTokens(path)
    assert (known.device_of("old"), known.device_of("new")) == (1, 1)
    path.write_text("1 broken\n")
    assert known.device_of("old") == 1
    path.unlink()
    assert known.device_of("old") == 1
    path.write_text(f"2 {hash_of('new')}\n")
    os.utime(path, ns=(1, 1))
    assert (known.device_of("old"), known.device_of("new")) == (None, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\n", "line 1; allowed: a device's number and a SHA-256 in hex"),
        ("\n1 abc\n", "line 2; allowed:"),
        (f"-1 {'a' * 64}\n", "line 1; allowed:"),
        (f"99999999999 {'a' * 64}\n", "line 1; allowed:"),
        (f"1 {'g' * 64}\n", "line 1; allowed:"),
        (f"1 {'a' * 64} 2\n", "line 1; allowed:"),
        (f"1 {'a' * 64}\n2 {'A' * 64}\n", "line 2: another device has this token, too"),
        (b"\xff", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_file_of_devices_is_refused(tmp_path: Path, text: bytes | str | None, said: str) -> None:
    path = tmp_path / "devices"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInputError, match=said):
        read_devices(path)


def test_the_hash_is_what_the_usual_tools_print() -> None:
    assert hash_of("secret") == hashlib.sha256(b"secret").hexdigest()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        give_tokens(tmp_path / "devices", [1], tmp_path / "file")
