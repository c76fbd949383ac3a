"""Tokens of devices: a server stores only their hashes, so that its file of devices gives no access.

The file has a line for each device: its number, and the SHA-256 of its token in hex. Empty lines and text after a #
do not count. A device may have several lines while it gets a new token.
"""

import hashlib
import logging
import secrets
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from fbfl.errors import InvalidInputError, StorageError
from fbfl.system.atomic import PRIVATE, write_atomically
from fbfl.system.textfile import read_text

log = logging.getLogger(__name__)

MAX_DEVICE = 2**31 - 1
"""The largest number of a device."""


class DeviceTokens:
    """The devices in a file, read again when it has changed; errors in it are then logged, and the old ones stay."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen = _version(path)
        self._devices = read_devices(path)

    def device_of(self, token: str) -> int | None:
        """Return the device that has this token, if any."""
        with self._lock:
            seen = _version(self._path)
            if seen != self._seen:
                self._seen = seen
                try:
                    self._devices = read_devices(self._path)
                    log.info("read %s again: %d tokens", self._path, len(self._devices))
                except InvalidInputError as error:
                    log.warning("the devices read before stay valid: %s", error)
            return self._devices.get(hash_of(token))


def read_devices(path: Path) -> Mapping[str, int]:
    """Return the devices in a file by the hashes of their tokens; any other file raises `InvalidInputError`."""
    lines = read_text(path, f"--devices {path}").splitlines()
    devices: dict[str, int] = {}
    for place, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not _is_device(words[0]) or not _is_hash(words[1]):
            raise InvalidInputError(f"--devices {path}, line {place}; allowed: a device's number and a SHA-256 in hex")
        if devices.setdefault(words[1].lower(), int(words[0])) != int(words[0]):
            raise InvalidInputError(f"--devices {path}, line {place}: another device has this token, too")
    return devices


def give_tokens(path: Path, devices: Iterable[int], folder: Path) -> list[Path]:
    """Make tokens for devices: their hashes are added to a file, new if need be, the tokens are in `folder`.

    Returns the files of the tokens, `device-NUMBER.token`, which only their owner can read. A device that has a token
    raises `InvalidInputError`, and nothing is changed then.
    """
    known = read_devices(path) if path.exists() else {}
    tokens = {device: secrets.token_urlsafe(32) for device in devices}
    files = {device: folder / f"device-{device}.token" for device in tokens}
    for device, file in files.items():
        if device in known.values():
            raise InvalidInputError(f"device {device} has a token in {path}; remove its line to give it another one")
        if file.exists():
            raise InvalidInputError(f"{file} exists; remove it to give device {device} another token")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        for device, token in tokens.items():
            write_atomically(files[device], f"{token}\n".encode(), PRIVATE)
        before = read_text(path, f"--devices {path}") if path.exists() else ""
        separator = "" if not before or before.endswith("\n") else "\n"
        lines = "".join(f"{device} {hash_of(token)}\n" for device, token in tokens.items())
        write_atomically(path, f"{before}{separator}{lines}".encode())
    except OSError as error:
        raise StorageError(f"{error.filename} cannot be written: {error.strerror}") from error
    return list(files.values())


def hash_of(token: str) -> str:
    """Return the SHA-256 of a token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def _version(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _is_device(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 10 and int(word) <= MAX_DEVICE


def _is_hash(word: str) -> bool:
    return len(word) == 64 and all(letter in "0123456789abcdefABCDEF" for letter in word)
