"""The process of a job: reads what to do from its input, tells its progress and its result in lines of JSON.

{"progress": "round 3 of 10"}
{"result": ...} or {"error": "one line"}
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fbfl.dashboard.where import Where
from fbfl.errors import FbflError
from fbfl.system import strictjson

Say = Callable[[str], None]


def main() -> None:
    """Do the job on standard input."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("FBFL_LEAN_KERAS", "1")  # see fbfl.learning.backend.load_tensorflow
    asked = strictjson.loads(sys.stdin.read())
    where = Where(**{**asked["where"], "plugins": tuple(asked["where"]["plugins"])})
    answers, sys.stdout = sys.stdout, sys.stderr  # nobody else's prints are answers

    def tell(**what: Any) -> None:
        answers.write(strictjson.dumps(what) + "\n")
        answers.flush()

    try:
        tell(result=KINDS[asked["kind"]](where, asked["about"], lambda text: tell(progress=text)))
    except FbflError as error:
        tell(error=str(error))
    except Exception as error:
        tell(error=f"{type(error).__name__}: {error}")


def _index(where: Where, _: Mapping[str, Any], say: Say) -> Any:
    """Execute the chain of a run again and write its index."""
    from fbfl.runs.index import recorded_in

    say("executes every block of the chain again")
    assert where.run is not None, "a network is read as it is"
    return recorded_in(Path(where.run)).records.num_rounds


def _updates(where: Where, about: Mapping[str, Any], say: Say) -> Any:
    from fbfl.dashboard.analysis import updates_of

    return updates_of(where, about["round"], say)


def _recall(where: Where, about: Mapping[str, Any], say: Say) -> Any:
    from fbfl.dashboard.analysis import recall_of

    return recall_of(where, about["round"], say)


def _audit(where: Where, _: Mapping[str, Any], say: Say) -> Any:
    say("executes every block of the chain again" if where.run else "reads the chain")
    from fbfl.dashboard.analysis import audit_of

    return audit_of(where, say)


KINDS: Mapping[str, Callable[[Where, Mapping[str, Any], Say], Any]] = {
    "index": _index,
    "updates": _updates,
    "recall": _recall,
    "audit": _audit,
}
