"""Files of published data sets: in the user's folder, in the cache of Keras, or from the network."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import requests

from fbfl.errors import DataUnavailableError
from fbfl.system.atomic import write_atomically

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_CONNECT_SECONDS = 5.0
_DOWNLOAD_SECONDS = 120.0


def user_folder(name: str) -> tuple[Path, ...]:
    """Return the path of a file or folder in $FBFL_DATA; nothing if that is not set."""
    folder = os.environ.get("FBFL_DATA")
    return (Path(folder) / name,) if folder else ()


def keras_cache() -> Path:
    """Return the folder in which Keras keeps data sets."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def download(url: str, advice: str) -> bytes:
    """Fetch `url`, giving up soon where there is no network."""
    return _asked(url, advice, lambda response: response.content)


def require(url: str, advice: str) -> None:
    """Raise `DataUnavailableError` soon if nobody answers for `url`, which is not fetched."""
    _asked(url, advice, lambda _: b"")


def _asked(url: str, advice: str, read: Callable[[requests.Response], bytes]) -> bytes:
    """Return what `read` makes of the answer.

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
    thread.join(_DOWNLOAD_SECONDS if answered.is_set() else 0)
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
