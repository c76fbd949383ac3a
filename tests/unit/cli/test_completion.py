"""Completion in a shell, as bash does it with the script that is printed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fbfl.cli import main
from fbfl.learning.attacks import ATTACKS

BASH = shutil.which("bash")
COMPLETE = """
source ./fbfl.bash
[[ $(complete -p fbfl) =~ "-F "([^ ]+) ]]
COMP_WORDS=({words}) COMP_CWORD={place}
"${{BASH_REMATCH[1]}}" fbfl "{last}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script, a file and a folder."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("shell")
        patch.chdir(folder)
        with (folder / "fbfl.bash").open("w") as script:
            patch.setattr("sys.stdout", script)
            assert main(["completion", "bash"]) == 0
    (folder / "mine.toml").touch()
    (folder / "my-runs").mkdir()
    return folder


def proposed(folder: Path, *words: str) -> set[str]:
    """Return what bash proposes for the last of the words after `fbfl`."""
    assert BASH is not None
    code = COMPLETE.format(words=" ".join(f"'{word}'" for word in ("fbfl", *words)), place=len(words), last=words[-1])
    done = subprocess.run(
        [BASH, "--norc", "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.stderr, done.stderr
    return {*done.stdout.split()}


@pytest.mark.skipif(BASH is None, reason="no bash")
def test_bash_completes_commands_options_names_and_files(folder: Path) -> None:
    assert proposed(folder, "ro") == {"round", "rounds"}
    assert proposed(folder, "task", "re") == {"reclaim"}
    assert proposed(folder, "run", "--attack") == {"--attack", "--attack-arg"}
    assert proposed(folder, "run", "--consensus", "p") == {"pow", "pbft"}
    assert proposed(folder, "run", "--attack", "") == {*ATTACKS}
    assert proposed(folder, "task", "create", "--partition", "") == set(), "not among the options of an owner"
    assert proposed(folder, "list", "agg") == {"aggregator"}
    assert proposed(folder, "run", "--config", "mi") == {"mine.toml"}
    assert proposed(folder, "audit", "--run", "m") == {"my-runs"}
    assert "pow" not in proposed(folder, "deploy", "--consensus", "")


def test_each_shell_gets_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = []
    for shell, sign in (("bash", "COMPREPLY"), ("zsh", "#compdef fbfl"), ("tcsh", "complete fbfl")):
        assert main(["completion", shell]) == 0
        scripts.append(capsys.readouterr().out)
        assert sign in scripts[-1]
        assert "centered_clipping" in scripts[-1]
    assert len({*scripts}) == 3
