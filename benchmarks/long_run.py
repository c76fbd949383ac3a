"""A long run of many servers, played and looked at: ``python -m benchmarks.long_run [--rounds N] [--servers N]``.

It plays a run with real blocks, in which a fifth of the servers train in each round and all of them vote, then audits
it and asks for what people look at: its rounds in the terminal, which the first time execute the chain again, and the
pages of the dashboard. Wall and processor seconds of each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fbfl.system import http
from tests.browser.starting import dashboard

PAGES = ("/", "/rounds", "/round/{middle}", "/servers", "/updates/{middle}", "/map?round={middle}", "/compare")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500, metavar="N", help="rounds (default 500)")
    parser.add_argument("--servers", type=int, default=100, metavar="N", help="servers (default 100)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        settings = f"--dataset digits --consensus pbft --servers {options.servers} --rounds {options.rounds}"
        command = ["run", *settings.split(), "--participation", "0.2", "--output", str(run)]
        print(f"fbfl {' '.join(command[:-1])} DIR")
        print(f"{'':32}{'wall s':>10}{'processor s':>14}")
        _measured("play the run", lambda: _fbfl(*command))
        _measured("audit", lambda: _fbfl("audit", "--run", run))
        _measured("rounds, executed again", lambda: _fbfl("rounds", "--run", run))
        _measured("rounds, from the index", lambda: _fbfl("rounds", "--run", run))
        with dashboard("--run", run) as url, http.session() as session:
            for page in PAGES:
                path = page.format(middle=options.rounds // 2)
                before = time.perf_counter()
                session.get(url + path, timeout=600).raise_for_status()
                print(f"{path:32}{time.perf_counter() - before:10.2f}", flush=True)
        sizes = {each: sum(file.stat().st_size for file in (run / each).iterdir()) for each in ("chain", "payloads")}
        print(", ".join(f"{name}: {size / 1e6:,.1f} MB" for name, size in sizes.items()))


def _measured(name: str, play: Callable[[], object]) -> None:
    wall, before = time.perf_counter(), os.times()
    play()
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{name:32}{time.perf_counter() - wall:10.2f}{processor:14.2f}", flush=True)


def _fbfl(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "fbfl", *map(str, words)], check=True, capture_output=True)


if __name__ == "__main__":
    main()
