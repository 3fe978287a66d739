"""Gzip files read piece by piece, in bounded memory and in a time that the file's size bounds."""

import zlib
from typing import Any

GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 2**16


class GzipStream:
    """What a gzip file holds, in pieces of bounded size.

    The standard library's reader takes zeros behind the data, and long file names before it, byte by byte.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._member = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._found_in_member = 0

    def read(self, most: int) -> bytes:
        """Returns up to `most` bytes: fewer only at the end.

        Raises:
            EOFError: the file ends too early.
            zlib.error: the file is damaged.
        """
        pieces: list[bytes] = []
        while most > 0 and (not self._member.eof or self._next_member()):
            pieces.append(self._inflate(most))
            most -= len(pieces[-1])
        return b"".join(pieces)

    def finish(self, most: int) -> None:
        """Reads up to `most` more bytes of the same part, at whose end its checksum is compared.

        Raises:
            EOFError: the file ends too early.
            zlib.error: the file is damaged.
        """
        while most > 0 and not self._member.eof:
            most -= len(self._inflate(most))

    def _inflate(self, most: int) -> bytes:
        piece = self._member.decompress(self._waiting or self._more(), most)
        self._waiting = self._member.unconsumed_tail
        self._found_in_member += len(piece)
        return piece

    def _more(self) -> bytes:
        piece: bytes = self._source.read(_PIECE)
        if not piece:
            raise EOFError
        return piece

    def _next_member(self) -> bool:
        """Goes on to the member behind this one, if there is one."""
        self._waiting = self._member.unused_data
        if len(self._waiting) < len(GZIP_MAGIC):
            self._waiting += self._source.read(_PIECE)
        if not self._waiting.startswith(GZIP_MAGIC):
            return False
        if self._found_in_member == 0:
            raise zlib.error("a part without content")
        self._member, self._found_in_member = zlib.decompressobj(wbits=31), 0
        return True
