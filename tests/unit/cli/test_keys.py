import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_typing import HexStr

from fbfl.chain.accounts import development_account
from fbfl.cli.keys import KEY_VARIABLE, PASSWORD_VARIABLE, account_of
from fbfl.errors import InvalidInputError

KEY = "0x" + "17" * 32
ADDRESS = Account.from_key(KEY).address
ANVIL, MAINNET = 31337, 1


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"account": None, "keystore": None, "password_file": None, **given})


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(HexStr(KEY), "open sesame", kdf="pbkdf2", iterations=2)))
    return path


def test_a_keystore_is_unlocked_by_a_file_or_the_environment(
    keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    assert account_of(options(keystore=keystore, password_file=password), MAINNET).address == ADDRESS
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    assert account_of(options(keystore=keystore), MAINNET).address == ADDRESS


def test_a_keystore_that_does_not_open_is_named(keystore: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match=PASSWORD_VARIABLE):
        account_of(options(keystore=keystore), MAINNET)
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    with pytest.raises(InvalidInputError, match=r"key\.json: not a keystore, or not its password"):
        account_of(options(keystore=keystore), MAINNET)
    damaged = json.loads(keystore.read_text())
    damaged["crypto"]["kdfparams"]["prf"] = -1
    keystore.write_text(json.dumps(damaged))
    with pytest.raises(InvalidInputError, match=r"key\.json: not a keystore"):
        account_of(options(keystore=keystore), MAINNET)
    keystore.write_text("[]")
    with pytest.raises(InvalidInputError, match=r"key\.json: not a keystore"):
        account_of(options(keystore=keystore), MAINNET)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        account_of(options(keystore=keystore.parent / "none"), MAINNET)


def test_the_environments_key_is_used_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="no key to sign with"):
        account_of(options(), MAINNET)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert account_of(options(), MAINNET).address == ADDRESS
    monkeypatch.setenv(KEY_VARIABLE, "0xsecret")
    with pytest.raises(InvalidInputError) as error:
        account_of(options(), MAINNET)
    assert "secret" not in str(error.value)


def test_development_accounts_are_for_local_networks() -> None:
    assert account_of(options(account=3), ANVIL) == development_account(3)
    with pytest.raises(InvalidInputError, match="not a local network"):
        account_of(options(account=3), MAINNET)
    with pytest.raises(InvalidInputError, match="0 to 99"):
        account_of(options(account=100), ANVIL)
