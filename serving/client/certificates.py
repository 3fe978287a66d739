"""Certificate authorities that clients trust."""

import ssl
from pathlib import Path

import httpx

from components.shared.errors import BadConfigError


def trusted_context(file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the usual authorities and those of a file.

    The usual ones are those of SSL_CERT_FILE or SSL_CERT_DIR if they are set, else those of Mozilla.

    Args:
        file: File with certificates in PEM; None for the usual authorities alone.

    Raises:
        BadConfigError: A file of certificates cannot be read or holds none.
    """
    try:
        context = httpx.create_ssl_context()
        if file is not None:
            context.load_verify_locations(file)
    except OSError as error:  # ssl.SSLError is one
        name = f"the file {file}" if file else "SSL_CERT_FILE or SSL_CERT_DIR"
        raise BadConfigError(
            f"the certificates of {name} cannot be used ({error})",
            "certificates of an authority in PEM",
            "Set CA, or --ca, to such a file.",
        ) from error
    return context


def authorities(context: ssl.SSLContext) -> str:
    """Return the certificates that a TLS context trusts, in PEM."""
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(binary_form=True))
