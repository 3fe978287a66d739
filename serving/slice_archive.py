"""An optional archive of the latest slices as images, from which slices are labelled after drift.

Drift events never hold an image. With the option `--keep_slices` each event's slice is stored in a folder as
`<milliseconds>-<event's id>.png`, segmented as the model received it; the oldest images are removed beyond the limit.
"""

from collections import deque
from pathlib import Path

from components.shared.errors import BadConfigError
from components.shared.images.decoding import Pixels, encode_png

DEFAULT_ARCHIVE_MB = 1024
_PATTERN = f"{'[0-9]' * 15}-*.png"
"""Pattern of the archive's file names; other images in the folder are never removed."""


class SliceArchive:
    """A folder of images with a limit on their total size.

    Args:
        folder: Folder, which is created if it does not exist; images of an earlier run count.
        max_bytes: Largest size of all images together.

    Raises:
        BadConfigError: The folder cannot be created or read.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self._max_bytes = folder, max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sizes = sorted((path.name, path.stat().st_size) for path in folder.glob(_PATTERN))
        except OSError as error:
            raise BadConfigError(
                f"the folder {folder} for slices cannot be used ({error.strerror})",
                "a folder that can be created and written",
                "Set --keep_slices to another folder.",
            ) from error
        self._files = deque(sizes)
        self._bytes = sum(size for _, size in sizes)

    def add(self, event_id: str, time: float, pixels: Pixels) -> None:
        """Write a slice and remove the oldest ones beyond the limit.

        Args:
            event_id: Id of the slice's drift event.
            time: Time of the answer, seconds since 1970.
            pixels: Pixels of the slice, uint8 [H, W] or [H, W, 3].

        Raises:
            OSError: The disk is full or not writable.
        """
        name, png = f"{round(time * 1000):015d}-{event_id}.png", encode_png(pixels)
        self._make_room(len(png))
        try:
            (self.folder / name).write_bytes(png)
        except OSError:
            (self.folder / name).unlink(missing_ok=True)  # a truncated image would stay and be labelled
            raise
        self._files.append((name, len(png)))
        self._bytes += len(png)

    def _make_room(self, size: int) -> None:
        while self._files and self._bytes + size > self._max_bytes:
            name, removed_bytes = self._files.popleft()
            (self.folder / name).unlink(missing_ok=True)
            self._bytes -= removed_bytes
