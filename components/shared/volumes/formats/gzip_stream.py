"""A reader of gzip and zlib data with bounded memory, and with a running time bounded by the file size."""

import zlib
from typing import Any

GZIP_MAGIC = b"\x1f\x8b"
GZIP_WBITS, ANY_WBITS = 31, 47
_CHUNK_BYTES = 2**16


class GzipStream:
    """The decompressed content of gzip or zlib data, in pieces of bounded size.

    The reader of the standard library consumes trailing zeros and long file names in headers byte by byte.

    Args:
        source: Binary file or stream.
        wbits: Window size of zlib, which selects the container: GZIP_WBITS, or ANY_WBITS for zlib or gzip.
    """

    def __init__(self, source: Any, wbits: int = GZIP_WBITS) -> None:
        self._source = source
        self._member = zlib.decompressobj(wbits=wbits)
        self._input = b""
        self._member_bytes = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end.

        Raises:
            EOFError: The file is truncated.
            zlib.error: If the file is damaged.
        """
        pieces: list[bytes] = []
        while size > 0 and (not self._member.eof or self._next_member()):
            pieces.append(self._inflate(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def finish(self, size: int) -> None:
        """Read up to `size` more bytes of the current member; its checksum is compared at its end.

        Raises:
            EOFError: The file is truncated.
            zlib.error: If the file is damaged.
        """
        while size > 0 and not self._member.eof:
            size -= len(self._inflate(size))

    def _inflate(self, size: int) -> bytes:
        piece = self._member.decompress(self._input or self._next_chunk(), size)
        self._input = self._member.unconsumed_tail
        self._member_bytes += len(piece)
        return piece

    def _next_chunk(self) -> bytes:
        piece: bytes = self._source.read(_CHUNK_BYTES)
        if not piece:
            raise EOFError
        return piece

    def _next_member(self) -> bool:
        """Open the next member of the file and return whether there is one."""
        self._input = self._member.unused_data
        if len(self._input) < len(GZIP_MAGIC):
            self._input += self._source.read(_CHUNK_BYTES)
        if not self._input.startswith(GZIP_MAGIC):
            return False
        if self._member_bytes == 0:
            raise zlib.error("a member without content")
        self._member, self._member_bytes = zlib.decompressobj(wbits=GZIP_WBITS), 0
        return True
