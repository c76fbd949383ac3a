import pytest

from fbfl.errors import InvalidInputError
from fbfl.runs import RunFolder
from fbfl.settings import RunSettings


def test_a_run_that_does_not_begin_leaves_nothing_of_its_own(tmp_path):
    def fail(path):
        with RunFolder.create(path, RunSettings()) as folder:
            folder.payloads("local")
            raise InvalidInputError("alpha is -1")

    for _ in range(2):  # the corrected one may have the same folder
        with pytest.raises(InvalidInputError, match="alpha"):
            fail(tmp_path / "new")
    assert not (tmp_path / "new").exists()

    other = tmp_path / "used" / "notes.txt"
    other.parent.mkdir()
    other.write_text("somebody else's")
    with pytest.raises(InvalidInputError, match="alpha"):
        fail(other.parent)
    assert list(other.parent.iterdir()) == [other]
