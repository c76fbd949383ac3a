"""Files of published data sets: in the user's folder, in the cache of Keras, or from the network."""

import hashlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from fbfl.errors import DataUnavailableError, InvalidInputError, failures_as
from fbfl.system.atomic import write_atomically

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_CONNECT_SECONDS = 5.0
_DOWNLOAD_SECONDS = 120.0
_SLOWEST = 500_000  # bytes a second, of what takes longer than that
_MOST = 1 << 26
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Published:
    """A file as its publishers offer it."""

    url: str
    size: int
    """In bytes."""
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


def user_folder(name: str) -> tuple[Path, ...]:
    """Return the path of a file or folder in $FBFL_DATA; nothing if that is not set."""
    folder = os.environ.get("FBFL_DATA")
    return (Path(folder) / name,) if folder else ()


def keras_cache() -> Path:
    """Return the folder in which Keras keeps data sets."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def obtained(file: Published, folder: str) -> tuple[Path | io.BytesIO, str]:
    """Return a published file, and where it is from: a folder in $FBFL_DATA, that in Keras's cache, or the network.

    What is fetched is kept in the cache. A file of other bytes on disk raises `InvalidInputError`; if there is none,
    and the network has not got it either, `DataUnavailableError` says where to put it.
    """
    kept = keras_cache() / folder / file.name
    for path in (*(place / file.name for place in user_folder(folder)), kept):
        if path.is_file():
            _refuse_other_bytes(path, file)
            return path, str(path)
    advice = f"put {file.name} into $FBFL_DATA/{folder} or {kept.parent}"
    data = download(file.url, advice, file.size)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DataUnavailableError(f"{file.url} sends another file (SHA-256 {file.sha256[:12]}... expected): {advice}")
    keep(data, kept)
    return io.BytesIO(data), file.url


def _refuse_other_bytes(path: Path, file: Published) -> None:
    with failures_as(InvalidInputError, f"{path}: cannot be read"), path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != file.sha256:
        raise InvalidInputError(f"{path} is not {file.url} (SHA-256 {file.sha256[:12]}... expected)")


def download(url: str, advice: str, most: int = _MOST) -> bytes:
    """Fetch `url`, `most` bytes at most, giving up soon where there is no network; a large file is told on stderr."""
    seconds = max(_DOWNLOAD_SECONDS, most / _SLOWEST)
    if most > _MOST:
        print(f"fetching {url} ({most / 1e6:,.0f} MB)", file=sys.stderr)

    def content(response: requests.Response) -> bytes:
        received, ends = io.BytesIO(), time.monotonic() + seconds
        for chunk in response.iter_content(_CHUNK):
            received.write(chunk)
            if received.tell() > most:
                raise requests.RequestException(f"it sends more than {most} bytes")
            if time.monotonic() > ends:  # nobody waits any longer
                raise requests.Timeout("it is too slow")
        return received.getvalue()

    return _asked(url, advice, content, seconds)


def require(url: str, advice: str) -> None:
    """Raise `DataUnavailableError` soon if nobody answers for `url`, which is not fetched."""
    _asked(url, advice, lambda _: b"", _DOWNLOAD_SECONDS)


def _asked(url: str, advice: str, read: Callable[[requests.Response], bytes], seconds: float) -> bytes:
    """Return what `read` makes of the answer, which may take so many seconds.

    A thread does it, because looking up a host name takes no time-out and may hang for minutes.
    """
    answered = threading.Event()
    result: list[bytes | Exception] = []

    def fetch() -> None:
        try:
            # Through a proxy, if the environment names one: unlike all other requests, this one leaves the machine.
            with requests.get(url, timeout=_CONNECT_SECONDS, stream=True) as response:
                answered.set()
                response.raise_for_status()
                result.append(read(response))
        except requests.RequestException as error:
            result.append(error)
        finally:
            answered.set()

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    answered.wait(_CONNECT_SECONDS)
    thread.join(seconds if answered.is_set() else 0)
    outcome = result[0] if result else "no answer in time"
    if isinstance(outcome, bytes):
        return outcome
    raise DataUnavailableError(f"{url} cannot be had ({outcome}): {advice}")


def keep(data: bytes, path: Path) -> None:
    """Put a checked download where Keras would put it, whole or not at all; a read-only home is no failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError:
        return
