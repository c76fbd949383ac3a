"""The process of a job: reads what to do from its input, tells its progress and its result in lines of JSON.

{"progress": "round 3 of 10"}
{"result": ...} or {"error": "one line"}
"""

import os
import sys
from typing import Any

from fbfl.dashboard.where import Where
from fbfl.errors import FbflError
from fbfl.system import strictjson


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
        from fbfl.dashboard.analysis import KINDS

        about = [asked["about"]["round"]] if "round" in asked["about"] else []
        tell(result=KINDS[asked["kind"]](where, *about, lambda text: tell(progress=text)))
    except FbflError as error:
        tell(error=str(error))
    except Exception as error:
        tell(error=f"{type(error).__name__}: {error}")
