"""What `fbfl mec` says of its own training instead of the task."""

from pathlib import Path

import pytest

from fbfl.cli.main import parser
from fbfl.cli.mec import _own_trainer
from fbfl.errors import InvalidInputError


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ((), {}),
        (("--trainer", "torch", "--model", "mylab.nets:Net"), {"trainer": "torch", "model": "mylab.nets:Net"}),
        (("--trainer", "mylab:train", "--trainer-arg", "rate=0.5"), {"trainer": "mylab:train", "rate": 0.5}),
    ],
)
def test_the_command_line_names_trainer_and_tensors(
    words: tuple[str, ...], own: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "names.toml"
    file.write_text('[names]\n0 = "bias"\n')
    arguments = {"trainer_args": {"rate": 0.5} if "rate" in own else {}} if own else {}
    expected = {name: value for name, value in own.items() if name != "rate"} | arguments
    command = ["mec", "--task", "1", "--network", "anvil", "--account", "1", "--data", "a.npz", *words]
    assert _own_trainer(parser().parse_args(command)) == (expected, None)
    found = _own_trainer(parser().parse_args([*command, "--trainer-arg", f"names={file}"]))
    assert found == (expected, {"0": ("bias", None)})


def test_a_node_of_an_app_takes_nothing_of_it_from_the_task() -> None:
    words = ["mec", "--task", "1", "--network", "anvil", "--account", "1", "--trainer", "flower", "--app", "mine"]
    own, _ = _own_trainer(parser().parse_args([*words, "--trainer-arg", "timeout=60"]))
    assert own == {"trainer": "flower", "trainer_args": {"timeout": 60}, "model": "mlp"}


def test_a_file_that_is_not_there_is_refused_in_a_line(tmp_path: Path) -> None:
    words = ["mec", "--task", "1", "--network", "anvil", "--account", "1", "--data", "a.npz"]
    options = parser().parse_args([*words, "--trainer-arg", f"names={tmp_path}/none.toml"])
    with pytest.raises(InvalidInputError, match=r"names .*none\.toml: cannot be read"):
        _own_trainer(options)
