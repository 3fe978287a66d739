"""Compressed bodies: a streaming decoder of gzip that returns bounded pieces."""

import zlib
from collections.abc import Iterator

from serving.protocol import RequestError

_GZIP_NAMES = frozenset({"gzip", "x-gzip"})
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_INPUT_BYTES, _OUTPUT_BYTES = 2**14, 2**18
"""Most bytes of a step: what is read of a body at a time, so that many small members cost little, and a piece."""


def is_gzip(header: str) -> bool:
    """Return whether a Content-Encoding header names gzip; False if it names no encoding.

    Raises:
        RequestError: 415 for another encoding, or more than one.
    """
    encodings = [name for name in (part.strip().lower() for part in header.split(",")) if name not in ("", "identity")]
    if not encodings:
        return False
    if len(encodings) > 1 or encodings[0] not in _GZIP_NAMES:
        raise RequestError(
            415, f"the content encoding {header[:64]!r}", "gzip or none", "Send the body with gzip or uncompressed."
        )
    return True


class GzipDecoder:
    """A decoder of a body in gzip format, of one or several members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._has_begun = False

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes of the next chunk in pieces of bounded size.

        Raises:
            RequestError: 400 if the bytes are not gzip.
        """
        for start in range(0, len(chunk), _INPUT_BYTES):
            yield from self._decode_step(chunk[start : start + _INPUT_BYTES])

    def finish(self) -> None:
        """Check that the body has ended with its last member.

        Raises:
            RequestError: 400 if the body is truncated.
        """
        if self._has_begun and not self._member.eof:
            raise _damaged_error("it is truncated")

    def _decode_step(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            self._has_begun = True
            try:
                piece = self._member.decompress(data, _OUTPUT_BYTES)
            except zlib.error as error:
                raise _damaged_error(str(error).rpartition(": ")[2]) from error
            yield piece
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail


def _damaged_error(reason: str) -> RequestError:
    return RequestError(
        400, f"a body that is not valid gzip ({reason})", "the gzip file of a JSON document", "Compress it again."
    )
