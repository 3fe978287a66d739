"""A bzip2 reader with bounded memory."""

import bz2
from typing import Any

_CHUNK_BYTES = 2**16


class Bzip2Stream:
    """The decompressed content of bzip2 data, in pieces of bounded size.

    Args:
        source: Binary file or stream.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._decompressor = bz2.BZ2Decompressor()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end.

        Raises:
            EOFError: The data are truncated.
            OSError: The data are damaged.
        """
        pieces: list[bytes] = []
        while size > 0 and not self._decompressor.eof:
            chunk = self._source.read(_CHUNK_BYTES) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not chunk:
                raise EOFError
            pieces.append(self._decompressor.decompress(chunk, size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def finish(self, size: int) -> None:
        """Read up to `size` more bytes; the checksum is compared at the end."""
        self.read(size)
