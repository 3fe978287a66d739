"""A signed folder is verified byte by byte, with all file names and the key."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.errors import BadConfigError, ContractError
from components.shared.signing import SIGNING_KEY, key_path, sign_folder, verify_folder

KeyPair = Callable[[str], tuple[Path, Path]]
Tamper = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "1"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "data").write_bytes(bytes(range(256)))
    return model


def flip(folder: Path) -> None:
    content = bytearray((folder / "variables" / "data").read_bytes())
    content[100] ^= 1
    (folder / "variables" / "data").write_bytes(content)


def add_hidden(folder: Path) -> None:
    (folder / ".gitignore").write_text("*")


def remove(folder: Path) -> None:
    (folder / "saved_model.pb").unlink()


def rename(folder: Path) -> None:
    (folder / "saved_model.pb").rename(folder / "saved_model.pbtxt")


TAMPERINGS: list[tuple[Tamper, str]] = [
    (flip, r"changed: variables/data"),
    (add_hidden, r"added: \.gitignore"),
    (remove, r"missing: saved_model\.pb"),
    (rename, r"added: saved_model\.pbtxt; missing: saved_model\.pb"),
]


@pytest.mark.parametrize("with_key", [False, True], ids=["digests", "signature"])
@pytest.mark.parametrize(("tamper", "reason"), TAMPERINGS)
def test_a_changed_folder_is_rejected_with_the_file_names(
    folder: Path, key_pair: KeyPair, with_key: bool, tamper: Tamper, reason: str
) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private if with_key else None)
    digest = verify_folder(folder, public if with_key else None)
    assert len(digest) == 64
    tamper(folder)
    with pytest.raises(ContractError, match=reason):
        verify_folder(folder, public if with_key else None)


@pytest.mark.parametrize("tamper", [tamper for tamper, _ in TAMPERINGS])
def test_new_digests_do_not_replace_the_signature(folder: Path, key_pair: KeyPair, tamper: Tamper) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    signature = (folder / "model.sig").read_bytes()
    tamper(folder)
    sign_folder(folder, None)
    verify_folder(folder, None)
    (folder / "model.sig").write_bytes(signature)
    with pytest.raises(ContractError, match="is not signed by the key of"):
        verify_folder(folder, public)


def test_another_key_and_a_damaged_signature_are_rejected(folder: Path, key_pair: KeyPair) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    with pytest.raises(ContractError, match="is not signed by the key of"):
        verify_folder(folder, key_pair("theirs")[1])
    bundle = json.loads((folder / "model.sig").read_text())
    signature = bundle["dsseEnvelope"]["signatures"][0]
    signature["sig"] = signature["sig"][::-1].lstrip("=") + "=="
    for content in (json.dumps(bundle), "{}", "junk", "[" * 100_000):
        (folder / "model.sig").write_text(content)
        with pytest.raises(ContractError, match="is not signed by the key of"):
            verify_folder(folder, public)


def test_a_folder_under_another_number_has_the_same_digest(folder: Path, key_pair: KeyPair) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    before = verify_folder(folder, public)
    assert verify_folder(folder.rename(folder.parent / "7"), public) == before


def test_the_command_of_model_signing_verifies_the_signature(folder: Path, key_pair: KeyPair) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    command += [str(folder / "model.sig"), "--public_key", str(public)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    flip(folder)
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_a_link_is_rejected(folder: Path) -> None:
    (folder / "elsewhere").symlink_to(folder / "saved_model.pb")
    with pytest.raises(ContractError, match="cannot be hashed"):
        sign_folder(folder, None)


def test_an_unusable_key_is_bad_configuration(folder: Path, tmp_path: Path, key_pair: KeyPair) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no key")
    for key in (junk, key_pair("ours")[1], tmp_path / "nowhere.pem"):
        with pytest.raises(BadConfigError, match="not a usable key"):
            sign_folder(folder, key)
    sign_folder(folder, key_pair("ours")[0])
    with pytest.raises(BadConfigError, match="not a usable key"):
        verify_folder(folder, junk)


def test_a_key_is_at_the_path_of_the_variable_or_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variable, default = SIGNING_KEY[0], tmp_path / "mounted.pem"
    monkeypatch.delenv(variable, raising=False)
    assert key_path((variable, default)) is None
    default.write_text("key")
    assert key_path((variable, default)) == default
    key = tmp_path / "named.pem"
    monkeypatch.setenv(variable, str(key))
    with pytest.raises(BadConfigError, match=r"named\.pem, which does not exist"):
        key_path((variable, default))
    key.write_text("key")
    assert key_path((variable, default)) == key


def test_the_constants_are_imported_without_model_signing() -> None:
    script = "import sys, components.shared.signing; print('model_signing' in sys.modules)"
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
