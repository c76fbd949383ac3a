from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fbfl.errors import StorageError
from fbfl.storage.local import LocalStore
from fbfl.storage.shared import SharedStore
from fbfl.storage.store import Reference

USERS, PAYLOADS = ["one", "two", "three"], [b"first", b"second"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "pin", "unpin"]), st.sampled_from(USERS), st.sampled_from(PAYLOADS)), max_size=20
)


@settings(max_examples=25)  # each step waits for the disk
@given(before=st.sets(st.sampled_from(PAYLOADS)), steps=STEPS)
def test_a_payload_goes_with_the_last_who_holds_it_and_stays_if_it_was_there_before(
    before: set[bytes], steps: list[tuple[str, str, bytes]]
) -> None:
    with TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        store = LocalStore(folder / "payloads")
        for data in before:
            store.put(data)
        users = {name: SharedStore(LocalStore(folder / "payloads"), folder, name) for name in USERS}
        holders: dict[bytes, set[str]] = {data: {"before"} if data in before else set() for data in PAYLOADS}
        for step, name, data in steps:
            if step == "put":
                users[name].put(data)
            elif step == "pin":
                if not holders[data]:
                    continue  # nobody has it
                users[name].pin(Reference.to(data))
            else:
                users[name].unpin(Reference.to(data))
            holders[data] = holders[data] - {name} if step == "unpin" else holders[data] | {name}
            assert {data for data in PAYLOADS if store.has(Reference.to(data))} == {
                data for data in PAYLOADS if holders[data]
            }


def test_what_could_not_be_let_go_of_is_held_still(tmp_path: Path) -> None:
    class Busy(LocalStore):
        failures = 1

        def unpin(self, reference: Reference) -> None:
            self.failures -= 1
            if self.failures >= 0:
                raise StorageError("busy")
            super().unpin(reference)

    store = SharedStore(Busy(tmp_path / "payloads"), tmp_path, "one")
    reference = store.put(b"model")
    with pytest.raises(StorageError, match="busy"):
        store.unpin(reference)
    assert store.has(reference)
    SharedStore(LocalStore(tmp_path / "payloads"), tmp_path, "one").unpin(reference)  # after a restart
    assert not store.has(reference)


def test_each_store_has_a_record_of_its_own(tmp_path: Path) -> None:
    """A daemon that does not answer holds up the users of another one in no way."""
    here, there = (SharedStore(LocalStore(tmp_path / name), tmp_path / "state", "one") for name in ("here", "there"))
    reference = here.put(b"model")
    there.put(b"model")
    there.unpin(reference)
    assert (here.has(reference), there.has(reference)) == (True, False)
