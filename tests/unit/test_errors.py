"""The exception tree."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from fbfl import errors
from fbfl.mec.board import MessageRefusedError
from fbfl.mec.request_body import RequestRefusedError
from fbfl.mec.uploads import UploadError

MADE: dict[type[errors.FbflError], Callable[[], errors.FbflError]] = {
    errors.NonFiniteUpdateError: lambda: errors.NonFiniteUpdateError("NaN in the update of client 3", (3,)),
    errors.ContractRevertError: lambda: errors.ContractRevertError("TasksNotMember", {"task": 1}),
    RequestRefusedError: lambda: RequestRefusedError(404, "no such device"),
    MessageRefusedError: lambda: MessageRefusedError(403, "not a member"),
    UploadError: lambda: UploadError("refused", final=True),
}


def tree(root: type[errors.FbflError]) -> list[type[errors.FbflError]]:
    return [root, *(each for kind in root.__subclasses__() for each in tree(kind))]


@pytest.mark.parametrize("kind", tree(errors.FbflError))
def test_an_error_comes_whole_from_another_process(kind: type[Any]) -> None:
    error = MADE[kind]() if kind in MADE else kind("what is wrong")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy), copy.exit_status) == (kind, str(error), vars(error), error.exit_status)
