"""`python -m serving.client slice.png scan.nii.gz ...`: asks a server what slices and volumes show."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from components.shared.errors import EXIT_BAD_INPUT, BadInputError, BadSourceFileError, TaxonflowError, exit_code_of
from components.shared.images.decoding import IMAGE_EXTENSIONS
from serving.client.endpoint import DEFAULT_URL, MAX_BATCH_SLICES, Client
from serving.client.report import FORMATS, AnsweredSlice, render
from serving.client.volumes import (
    DEFAULT_EDGE,
    DEFAULT_SLICES,
    MOST_SLICES,
    PLANES,
    VOLUME_SUFFIXES,
    Cutting,
    cut_volume,
    is_volume,
    specimen_of,
)
from serving.command import number
from serving.protocol import CROPS
from serving.votes import classes_of

LARGEST_FILE_BYTES = 11 * 2**20  # base64 makes it a third larger, and a server takes 16 MiB


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser("python -m serving.client", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="images, NIfTI volumes, or folders of them")
    parser.add_argument("--url", default=DEFAULT_URL, help="the server's address (%(default)s)")
    parser.add_argument("--model", help="the model's name; may be left out where the server has one")
    parser.add_argument("--specimen", help="the specimen that all slices are from; a volume is one by itself")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of the answers (%(default)s)")
    seconds = partial(number, kind=float, least=0.1, most=3600)
    parser.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="for one request (%(default)s s)")
    count, bounds = partial(number, kind=int, least=1, most=MOST_SLICES), f"1 to {MOST_SLICES}"
    parser.add_argument(
        "--slices", type=count, default=DEFAULT_SLICES, metavar="N", help=f"cut of each volume, {bounds} (%(default)s)"
    )
    parser.add_argument(
        "--planes", choices=PLANES, default=PLANES[0], help="at random through the middle, or the published schedule"
    )
    return parser.parse_args(arguments)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Lists the images and volumes among files and folders (with all that is below them).

    Raises:
        BadInputError: a path does not exist, or there is neither image nor volume.
    """
    found: list[Path] = []
    suffixes = (*IMAGE_EXTENSIONS, *VOLUME_SUFFIXES)
    for path in paths:
        if not path.exists():
            raise BadInputError(f"{path} does not exist", "an image, a volume, or a folder of them")
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file for file in below if file.is_file() and (file == path or file.name.lower().endswith(suffixes))]
    if not found:
        raise BadInputError("no image and no volume", f"files that end with {', '.join(suffixes)}")
    return found


class Questions:
    """Asks for files with progress on standard error; what is refused is noted and the rest goes on.

    Args:
        client: asks.
        model: the model's name.
        specimen: that all slices are from, or None.
        cutting: how volumes are cut.
    """

    def __init__(self, client: Client, model: str, specimen: str | None, cutting: Cutting) -> None:
        self.client, self.model, self.specimen, self.cutting = client, model, specimen, cutting

    def ask(self, files: Sequence[Path]) -> list[AnsweredSlice]:
        """Asks for images in batches, then for each volume; raises DeployError when the server fails."""
        images = [file for file in files if not is_volume(file)]
        volumes = [file for file in files if is_volume(file)]
        answered: list[AnsweredSlice] = []
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("asking", total=len(images) + len(volumes) * self.cutting.slices)
            for start in range(0, len(images), MAX_BATCH_SLICES):
                answered += self._ask_for_images(images[start : start + MAX_BATCH_SLICES])
                progress.update(task, completed=len(answered))
            for number, volume in enumerate(volumes):
                progress.update(task, completed=len(images) + number * self.cutting.slices)
                for rows in self._ask_for_volume(volume):
                    answered += rows
                    progress.advance(task, len(rows))
        return answered

    def _ask_for_images(self, files: Sequence[Path]) -> list[AnsweredSlice]:
        """Asks for images in one go, or one by one where the server refuses one of them."""
        named = self.specimen or ""
        try:
            predictions = self.client.predict(self.model, [bounded_bytes(file) for file in files], self.specimen)
        except BadInputError as error:
            if len(files) == 1:
                return [AnsweredSlice(str(files[0]), None, str(error), named)]
            return [answered for file in files for answered in self._ask_for_images([file])]
        pairs = zip(files, predictions, strict=True)
        return [AnsweredSlice(str(file), prediction, specimen=named) for file, prediction in pairs]

    def _ask_for_volume(self, file: Path) -> Iterator[list[AnsweredSlice]]:
        """Asks for the slices of a volume, a batch at a time, so that only one batch is in memory."""
        specimen, slices, asked = self.specimen or specimen_of(file), cut_volume(file, self.cutting), False
        try:
            while batch := list(islice(slices, MAX_BATCH_SLICES)):
                predictions = self.client.predict(self.model, [cut.image for cut in batch], specimen)
                asked = True
                yield [
                    AnsweredSlice(str(file), prediction, "", specimen, cut.plane)
                    for cut, prediction in zip(batch, predictions, strict=True)
                ]
            if not asked:
                raise BadSourceFileError("no plane on which the specimen can be seen")
        except BadInputError as error:
            yield [AnsweredSlice(str(file), None, str(error), specimen)]


def edge_of_slices(metadata: Mapping[str, Any]) -> int:
    """Returns the edge of the slices that a model was trained on, in pixels, if its metadata say so."""
    try:
        crops = metadata["metadata"]["signature_def"]["signature_def"][CROPS]["inputs"][CROPS]
        return int(crops["tensor_shape"]["dim"][1]["size"])
    except (LookupError, TypeError, ValueError):
        return DEFAULT_EDGE


def bounded_bytes(file: Path) -> bytes:
    """Reads a file.

    Raises:
        BadInputError: it cannot be read, or is too large for a request.
    """
    try:
        size = file.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise BadInputError(f"{file} has {size} bytes", f"at most {LARGEST_FILE_BYTES}")
        return file.read_bytes()
    except OSError as error:
        raise BadInputError(f"{file} cannot be read ({error.strerror})") from error


def only_model(client: Client) -> str:
    """Returns the name of the server's one model.

    Raises:
        BadInputError: it has none or several.
        DeployError: the server cannot be reached or fails.
    """
    names = client.models()
    if not names:
        raise BadInputError(f"{client.url} serves no model yet", "", "Ask again when it has loaded one of `make run`.")
    if len(names) > 1:
        raise BadInputError(
            f"{client.url} serves {', '.join(names)}", "one", "Choose it with --model, or MODEL= of make ask."
        )
    return names[0]


def main(arguments: list[str]) -> int:
    """Runs the command.

    Returns:
        0, EXIT_BAD_INPUT when a file was refused, or EXIT_FAILED when the server cannot be asked.
    """
    options = parse_arguments(arguments)
    try:
        files = files_of(options.paths)
        with Client(options.url, options.timeout) as client:
            model = options.model or only_model(client)
            metadata = client.metadata(model)
            cutting = Cutting(options.slices, edge_of_slices(metadata), options.planes)
            answered = Questions(client, model, options.specimen, cutting).ask(files)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    sys.stdout.write(render(answered, options.format, classes_of(metadata)))
    return EXIT_BAD_INPUT if any(row.error for row in answered) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
