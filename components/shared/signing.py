"""A served model's folder, signed by digest: any flipped, added or missing file is found before the model is loaded.

`digests.json` names every file with its SHA-256. Where there is a private key, `model.sig` signs them all: a Sigstore
bundle, as `model_signing verify key` reads it too. Digests alone find what went wrong on the way; only a signature,
checked with a public key that lies elsewhere, finds what somebody with the right to write the folder did on purpose.
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from model_signing import hashing, signing, verifying

from components.shared.contracts import DIGESTS_FILE, FileDigests
from components.shared.errors import BadConfigError, ContractError

SIGNING_KEY = ("TAXONFLOW_SIGNING_KEY", Path("/var/taxonflow/signing/private.pem"))
VERIFICATION_KEY = ("TAXONFLOW_VERIFICATION_KEY", Path("/var/taxonflow/verification/public.pem"))
"""Where a key lies: the variable that says so, and the path where a pod finds it when its namespace has one."""
SIGNATURE_FILE = "model.sig"
_MOST_NAMED = 3
_REMEDY = "Publish the model again."


def sign_folder(folder: Path, private_key: Path | None) -> None:
    """Writes the digests of a finished folder, and their signature where there is a key.

    Args:
        folder: is not changed afterwards.
        private_key: PEM of the curves P-256, P-384 or P-521 without a password; None writes the digests alone.

    Raises:
        BadConfigError: the key cannot be used.
        ContractError: the folder holds a link.
    """
    (folder / SIGNATURE_FILE).unlink(missing_ok=True)
    FileDigests(files=_digests(folder)).write(folder / DIGESTS_FILE)
    if private_key is None:
        return
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key)
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(private_key, "private") from error
    signer.set_hashing_config(_all_but(SIGNATURE_FILE)).sign(folder.resolve(), folder / SIGNATURE_FILE)


def verify_folder(folder: Path, public_key: Path | None) -> str:
    """Checks that a folder holds what was signed, byte by byte, and nothing else.

    Args:
        folder: that `sign_folder` signed.
        public_key: PEM that belongs to the private key; None is content with the digests.

    Returns:
        The digest of the whole folder, SHA-256 in hexadecimal.

    Raises:
        BadConfigError: the key cannot be used.
        ContractError: a file was changed, added or removed, or the folder is not signed by this key.
    """
    if not (folder / DIGESTS_FILE).is_file():
        raise ContractError(f"{folder} has no {DIGESTS_FILE}", "what the evaluation step signs with", _REMEDY)
    signed, found = FileDigests.read(folder / DIGESTS_FILE).files, _digests(folder)
    if found != signed:
        raise ContractError(f"{folder} is not what was signed ({_difference(signed, found)})", remedy=_REMEDY)
    if public_key is not None:
        _verify_signature(folder, public_key)
    return hashlib.sha256("".join(f"{found[name]}  {name}\n" for name in sorted(found)).encode()).hexdigest()


def _verify_signature(folder: Path, public_key: Path) -> None:
    if not (folder / SIGNATURE_FILE).is_file():
        raise ContractError(f"{folder} is not signed", f"{SIGNATURE_FILE} by the key of {public_key}", _REMEDY)
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, AttributeError) as error:
        raise _unusable(public_key, "public") from error
    try:
        verifier.set_hashing_config(_all_but(SIGNATURE_FILE)).verify(folder.resolve(), folder / SIGNATURE_FILE)
    except (ValueError, LookupError, TypeError, RecursionError, InvalidSignature) as error:
        reason = str(error)[:200] or type(error).__name__
        raise ContractError(f"{folder} is not signed by the key of {public_key} ({reason})", remedy=_REMEDY) from error


def _unusable(key: Path, kind: str) -> BadConfigError:
    return BadConfigError(f"{key} is no key that can be used", f"a {kind} key of P-256, P-384 or P-521 as PEM")


def _all_but(*names: str) -> hashing.Config:
    return hashing.Config().set_ignored_paths(paths=names, ignore_git_paths=False)


def _digests(folder: Path) -> dict[str, str]:
    try:
        manifest = _all_but(DIGESTS_FILE, SIGNATURE_FILE).hash(folder.resolve())
    except (OSError, ValueError) as error:
        raise ContractError(f"{folder} cannot be hashed ({error})", "plain files in plain folders") from error
    return {item.identifier: item.digest.digest_hex for item in manifest.resource_descriptors()}


def _difference(signed: dict[str, str], found: dict[str, str]) -> str:
    changed = sorted(name for name in signed.keys() & found.keys() if signed[name] != found[name])
    kinds = {"changed": changed, "added": sorted(found.keys() - signed), "missing": sorted(signed.keys() - found)}
    return "; ".join(f"{kind}: {_some(names)}" for kind, names in kinds.items() if names)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def key_path(place: tuple[str, Path]) -> Path | None:
    """Returns where a key lies, or None if there is none.

    Args:
        place: SIGNING_KEY or VERIFICATION_KEY.

    Raises:
        BadConfigError: the variable names a file that does not exist.
    """
    variable, mounted = place
    named = os.environ.get(variable)
    if not named:
        return mounted if mounted.is_file() else None
    if not Path(named).is_file():
        raise BadConfigError(f"{variable} names {named}, which does not exist", "a PEM file with an EC key")
    return Path(named)
