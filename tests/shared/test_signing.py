"""A signed folder: every byte and every name counts, and so does whose key signed it."""

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


TAMPERED: list[tuple[Tamper, str]] = [
    (flip, r"changed: variables/data"),
    (add_hidden, r"added: \.gitignore"),
    (remove, r"missing: saved_model\.pb"),
    (rename, r"added: saved_model\.pbtxt; missing: saved_model\.pb"),
]


@pytest.mark.parametrize("signed", [False, True], ids=["digests", "signature"])
@pytest.mark.parametrize(("tamper", "reason"), TAMPERED)
def test_a_folder_that_was_changed_is_refused_by_the_files_name(
    folder: Path, key_pair: KeyPair, signed: bool, tamper: Tamper, reason: str
) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private if signed else None)
    digest = verify_folder(folder, public if signed else None)
    assert len(digest) == 64
    tamper(folder)
    with pytest.raises(ContractError, match=reason):
        verify_folder(folder, public if signed else None)


@pytest.mark.parametrize("tamper", [tamper for tamper, _ in TAMPERED])
def test_new_digests_do_not_help_without_the_key(folder: Path, key_pair: KeyPair, tamper: Tamper) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    signature = (folder / "model.sig").read_bytes()
    tamper(folder)
    sign_folder(folder, None)
    verify_folder(folder, None)
    (folder / "model.sig").write_bytes(signature)
    with pytest.raises(ContractError, match="is not signed by the key of"):
        verify_folder(folder, public)


def test_another_key_and_a_damaged_signature_are_refused(folder: Path, key_pair: KeyPair) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    with pytest.raises(ContractError, match="is not signed by the key of"):
        verify_folder(folder, key_pair("theirs")[1])
    bundle = json.loads((folder / "model.sig").read_text())
    signature = bundle["dsseEnvelope"]["signatures"][0]
    signature["sig"] = signature["sig"][::-1].lstrip("=") + "=="
    for damaged in (json.dumps(bundle), "{}", "junk", "[" * 100_000):
        (folder / "model.sig").write_text(damaged)
        with pytest.raises(ContractError, match="is not signed by the key of"):
            verify_folder(folder, public)


def test_a_copy_under_another_number_is_still_what_was_signed(folder: Path, key_pair: KeyPair) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    before = verify_folder(folder, public)
    assert verify_folder(folder.rename(folder.parent / "7"), public) == before


def test_the_command_of_model_signing_reads_the_signature(folder: Path, key_pair: KeyPair) -> None:
    private, public = key_pair("ours")
    sign_folder(folder, private)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    command += [str(folder / "model.sig"), "--public_key", str(public)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    flip(folder)
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_a_link_is_refused(folder: Path) -> None:
    (folder / "elsewhere").symlink_to(folder / "saved_model.pb")
    with pytest.raises(ContractError, match="cannot be hashed"):
        sign_folder(folder, None)


def test_a_key_that_is_none_is_one_sentence(folder: Path, tmp_path: Path, key_pair: KeyPair) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no key")
    for key in (junk, key_pair("ours")[1], tmp_path / "nowhere.pem"):
        with pytest.raises(BadConfigError, match="no key that can be used"):
            sign_folder(folder, key)
    sign_folder(folder, key_pair("ours")[0])
    with pytest.raises(BadConfigError, match="no key that can be used"):
        verify_folder(folder, junk)


def test_a_key_is_where_the_variable_says_or_where_a_pod_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable, mounted = SIGNING_KEY[0], tmp_path / "mounted.pem"
    monkeypatch.delenv(variable, raising=False)
    assert key_path((variable, mounted)) is None
    mounted.write_text("key")
    assert key_path((variable, mounted)) == mounted
    named = tmp_path / "named.pem"
    monkeypatch.setenv(variable, str(named))
    with pytest.raises(BadConfigError, match=r"named\.pem, which does not exist"):
        key_path((variable, mounted))
    named.write_text("key")
    assert key_path((variable, mounted)) == named
