"""The latest answered slices as images, for those who asked for it: what is labelled after drift.

Drift events never hold an image. Where `--keep_slices` names a folder, each event's slice lies there as
`<milliseconds>-<event's id>.png`, segmented as the model saw it; the oldest ones make room.
"""

from collections import deque
from pathlib import Path

from components.shared.errors import BadConfigError
from components.shared.images.decoding import Pixels, encode_png

KEPT_MB = 1024
_PATTERN = f"{'[0-9]' * 15}-*.png"
"""Names that `keep` gives: another image in the folder is somebody else's."""


class KeptSlices:
    """A folder of images that never holds more than so many bytes of this server's.

    Args:
        folder: is made when it does not exist; images of an earlier run count.
        max_bytes: of all images together.

    Raises:
        BadConfigError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self._max_bytes = folder, max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = sorted((path.name, path.stat().st_size) for path in folder.glob(_PATTERN))
        except OSError as error:
            raise BadConfigError(f"the folder of kept slices {folder} cannot be used ({error.strerror})") from error
        self._files = deque(found)
        self._bytes = sum(size for _, size in found)

    def keep(self, event: str, time: float, pixels: Pixels) -> None:
        """Writes a slice and removes the oldest ones beyond the limit.

        Args:
            event: id of its drift event.
            time: when it was answered, seconds since 1970.
            pixels: uint8 [H, W] or [H, W, 3].

        Raises:
            OSError: the disk is full or not writable.
        """
        name, png = f"{round(time * 1000):015d}-{event}.png", encode_png(pixels)
        self._make_room(len(png))
        try:
            (self.folder / name).write_bytes(png)
        except OSError:
            (self.folder / name).unlink(missing_ok=True)  # half an image would stay for ever, and be labelled
            raise
        self._files.append((name, len(png)))
        self._bytes += len(png)

    def _make_room(self, size: int) -> None:
        while self._files and self._bytes + size > self._max_bytes:
            name, freed = self._files.popleft()
            (self.folder / name).unlink(missing_ok=True)
            self._bytes -= freed
