"""Digests and signature of a served model's folder: a changed, added or missing file is detected before loading.

`digests.json` lists the SHA-256 of every file. If there is a private key, `model.sig` signs all of them: a Sigstore
bundle that `model_signing verify key` also verifies. Digests alone detect accidental damage; only a signature, verified
with a public key that is stored elsewhere, detects a deliberate change by someone who can write to the folder.

The functions import `model_signing` themselves: it takes half a second, and pipelines need only the constants.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature

from components.shared.contracts import DIGESTS_FILE, FileDigests
from components.shared.errors import BadConfigError, ContractError

SIGNING_KEY = ("TAXONFLOW_SIGNING_KEY", Path("/var/taxonflow/signing/private.pem"))
VERIFICATION_KEY = ("TAXONFLOW_VERIFICATION_KEY", Path("/var/taxonflow/verification/public.pem"))
"""Location of a key: the environment variable with its path, and the path where a pod mounts it by default."""
SIGNATURE_FILE = "model.sig"
_MAX_NAMES = 3
_REMEDY = "Publish the model again."


def sign_folder(folder: Path, private_key: Path | None) -> None:
    """Write the digests of a complete folder, and their signature if there is a key.

    Args:
        folder: Folder that is not changed afterwards.
        private_key: PEM file of a P-256, P-384 or P-521 key without a password; None writes the digests alone.

    Raises:
        BadConfigError: The key cannot be used.
        ContractError: The folder contains a link.
    """
    from model_signing import signing

    (folder / SIGNATURE_FILE).unlink(missing_ok=True)
    FileDigests(files=_digests(folder)).write(folder / DIGESTS_FILE)
    if private_key is None:
        return
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key)
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise _unusable_key(private_key, "private") from error
    signer.set_hashing_config(_hashing_without(SIGNATURE_FILE)).sign(folder.resolve(), folder / SIGNATURE_FILE)


def verify_folder(folder: Path, public_key: Path | None) -> str:
    """Check that a folder contains exactly the signed files, byte by byte.

    Args:
        folder: Folder signed by `sign_folder`.
        public_key: PEM file that belongs to the private key; None checks the digests alone.

    Returns:
        The digest of the whole folder, SHA-256 in hexadecimal.

    Raises:
        BadConfigError: The key cannot be used.
        ContractError: A file was changed, added or removed, or the folder is not signed by this key.
    """
    if not (folder / DIGESTS_FILE).is_file():
        raise ContractError(f"{folder} has no {DIGESTS_FILE}", "the digests that the evaluation step writes", _REMEDY)
    manifest, actual = FileDigests.read(folder / DIGESTS_FILE).files, _digests(folder)
    if actual != manifest:
        raise ContractError(f"{folder} is not what was signed ({_difference(manifest, actual)})", remedy=_REMEDY)
    if public_key is not None:
        _verify_signature(folder, public_key)
    return hashlib.sha256("".join(f"{actual[name]}  {name}\n" for name in sorted(actual)).encode()).hexdigest()


def _verify_signature(folder: Path, public_key: Path) -> None:
    from model_signing import verifying

    if not (folder / SIGNATURE_FILE).is_file():
        raise ContractError(f"{folder} is not signed", f"{SIGNATURE_FILE} by the key of {public_key}", _REMEDY)
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, AttributeError) as error:
        raise _unusable_key(public_key, "public") from error
    try:
        verifier.set_hashing_config(_hashing_without(SIGNATURE_FILE)).verify(folder.resolve(), folder / SIGNATURE_FILE)
    except (ValueError, LookupError, TypeError, RecursionError, InvalidSignature) as error:
        reason = str(error)[:200] or type(error).__name__
        raise ContractError(f"{folder} is not signed by the key of {public_key} ({reason})", remedy=_REMEDY) from error


def _unusable_key(key: Path, kind: str) -> BadConfigError:
    return BadConfigError(f"{key} is not a usable key", f"an unencrypted {kind} P-256, P-384 or P-521 key (PEM)")


def _hashing_without(*names: str) -> Any:
    """Return the configuration that hashes all files of a folder except these."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=names, ignore_git_paths=False)


def _digests(folder: Path) -> dict[str, str]:
    try:
        manifest = _hashing_without(DIGESTS_FILE, SIGNATURE_FILE).hash(folder.resolve())
    except (OSError, ValueError) as error:
        raise ContractError(f"{folder} cannot be hashed ({error})", "regular files and folders") from error
    return {item.identifier: item.digest.digest_hex for item in manifest.resource_descriptors()}


def _difference(manifest: dict[str, str], actual: dict[str, str]) -> str:
    changes = sorted(name for name in manifest.keys() & actual.keys() if manifest[name] != actual[name])
    kinds = {
        "changed": changes,
        "added": sorted(actual.keys() - manifest),
        "missing": sorted(manifest.keys() - actual),
    }
    return "; ".join(f"{kind}: {_first_names(names)}" for kind, names in kinds.items() if names)


def _first_names(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def key_path(location: tuple[str, Path]) -> Path | None:
    """Return the path of a key, or None if there is no key.

    Args:
        location: SIGNING_KEY or VERIFICATION_KEY.

    Raises:
        BadConfigError: The environment variable names a file that does not exist.
    """
    variable, default = location
    path = os.environ.get(variable)
    if not path:
        return default if default.is_file() else None
    if not Path(path).is_file():
        raise BadConfigError(
            f"{variable} names {path}, which does not exist",
            "a PEM file with an EC key",
            f"Correct or unset {variable}.",
        )
    return Path(path)
