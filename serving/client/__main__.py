"""`python -m serving.client slice.png scan.nii.gz ...`: predict the species of slices and volumes with a server."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from components.shared.errors import EXIT_BAD_INPUT, BadInputError, BadSourceFileError, TaxonflowError, exit_code_of
from components.shared.files.system_names import is_system_file
from components.shared.images.decoding import IMAGE_EXTENSIONS, MAX_FILE_BYTES
from components.shared.model_repository import EXAMPLES_FOLDER, version_folder, version_numbers
from serving.client.address import Address, parse_address
from serving.client.endpoint import DEFAULT_URL, MAX_BATCH_SLICES, Client, batches
from serving.client.paths import path_exists, paths_of
from serving.client.report import FORMATS, SliceResult, render
from serving.client.volumes import (
    DEFAULT_EDGE,
    DEFAULT_SCHEDULE,
    DEFAULT_SLICES,
    MOST_SLICES,
    SlicingOptions,
    is_volume,
    iterate_slices,
    specimen_of,
    volume_suffixes,
)
from serving.command import bounded_number
from serving.protocol import CROPS
from serving.votes import describe_model

if TYPE_CHECKING:
    from components.shared.volumes.plane_schedules import Schedule


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("python -m serving.client", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="images, volumes, or folders of them")
    parser.add_argument("--images", default="", help="the same in one text: a path, or several separated by blanks")
    parser.add_argument(
        "--examples", type=Path, metavar="DIR", help="model repository whose known slices of the model are sent"
    )
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="address of the server, or of its model's predictions (%(default)s)"
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates of the server's authority in PEM")
    parser.add_argument("--host", default="", help="name in the header Host, for an ingress under another address")
    parser.add_argument("--model", help="name of the model; optional if the server has one model")
    parser.add_argument("--specimen", help="specimen of all slices; by default each volume is a specimen")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="format of the report (%(default)s)")
    seconds = partial(bounded_number, kind=float, least=0.1, most=3600)
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="S", help="timeout of one request (%(default)s s)"
    )
    count = partial(bounded_number, kind=int, least=1, most=MOST_SLICES)
    parser.add_argument(
        "--slices",
        type=count,
        default=DEFAULT_SLICES,
        metavar="N",
        help=f"slices per volume, 1..{MOST_SLICES} (%(default)s)",
    )
    parser.add_argument(
        "--planes",
        type=parse_schedule,
        metavar="SCHEDULE",
        help=f"random, through the middle, or published; the default is {DEFAULT_SCHEDULE}",
    )
    options = parser.parse_args(arguments)
    if not (options.paths or options.images or options.examples):
        parser.error("PATH, --images or --examples is required")
    return options


def parse_schedule(text: str) -> "Schedule":
    """Parse the name of a schedule of planes; raises ArgumentTypeError for any other text."""
    from components.shared.volumes.plane_schedules import CUTS

    for schedule in CUTS:
        if schedule == text:
            return schedule
    raise argparse.ArgumentTypeError(f"{text!r}, expected one of {', '.join(sorted(CUTS))}")


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return the images and volumes among files and folders, recursively, without system files, as ingest does.

    Raises:
        BadInputError: A path does not exist, or the paths contain neither an image nor a volume.
    """
    files: list[Path] = []
    suffixes = (*IMAGE_EXTENSIONS, *volume_suffixes())
    for path in paths:
        if not path_exists(path):
            raise BadInputError(f"{path} does not exist", "an image, a volume, or a folder of them")
        files += _files_in(path, suffixes) if path.is_dir() else [path]
    if not files:
        raise BadInputError("no image and no volume", f"files that end with {', '.join(suffixes)}")
    return files


def _files_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.name.lower().endswith(suffixes)
        and not is_system_file(file.relative_to(folder).as_posix())
        and file.is_file()
    ]


def examples_of(repository: Path, model: str) -> Path:
    """Return the folder with the known slices of a model's newest version.

    Args:
        repository: Model repository on this machine.
        model: Name of the model.

    Raises:
        BadInputError: The repository has no such folder.
    """
    for version in reversed(version_numbers(repository / model)):
        folder = version_folder(repository, model, version) / EXAMPLES_FOLDER
        if folder.is_dir():
            return folder
    raise BadInputError(
        f"{repository} has no known slices of {model}", "images to classify", "Name them: make ask IMAGES=my-slice.png."
    )


class FilePredictor:
    """Predictions for files, with progress on standard error; a rejected file does not stop the others.

    Args:
        client: Client of the server.
        model: Name of the model.
        specimen: Name of the specimen of all slices, or None.
        options: Options for slices of volumes.
    """

    def __init__(self, client: Client, model: str, specimen: str | None, options: SlicingOptions) -> None:
        self.client, self.model, self.specimen, self.options = client, model, specimen, options

    def predict(self, files: Sequence[Path]) -> list[SliceResult]:
        """Predict images in batches, then each volume; raises DeployError if the server fails."""
        images = [file for file in files if not is_volume(file)]
        volumes = [file for file in files if is_volume(file)]
        results: list[SliceResult] = []
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("predicting", total=len(images) + len(volumes) * self.options.slices)
            for batch in batches(images, file_size):
                results += self._predict_images(batch)
                progress.update(task, completed=len(results))
            for number, volume in enumerate(volumes):
                progress.update(task, completed=len(images) + number * self.options.slices)
                for rows in self._predict_volume(volume):
                    results += rows
                    progress.advance(task, len(rows))
        return results

    def _predict_images(self, files: Sequence[Path]) -> list[SliceResult]:
        """Predict images in one batch, or one by one if the server rejects one of them."""
        specimen = self.specimen or ""
        try:
            predictions = self.client.predict(self.model, [read_bounded(file) for file in files], self.specimen)
        except BadInputError as error:
            if len(files) == 1:
                return [SliceResult(str(files[0]), None, str(error), specimen)]
            return [result for file in files for result in self._predict_images([file])]
        pairs = zip(files, predictions, strict=True)
        return [SliceResult(str(file), prediction, specimen=specimen) for file, prediction in pairs]

    def _predict_volume(self, file: Path) -> Iterator[list[SliceResult]]:
        """Yield the results of a volume in batches, so that only one batch is in memory."""
        specimen, slices = self.specimen or specimen_of(file), iterate_slices(file, self.options)
        is_empty = True
        try:
            while batch := list(islice(slices, MAX_BATCH_SLICES)):
                predictions = self.client.predict(self.model, [volume_slice.image for volume_slice in batch], specimen)
                is_empty = False
                yield [
                    SliceResult(str(file), prediction, "", specimen, volume_slice.plane)
                    for volume_slice, prediction in zip(batch, predictions, strict=True)
                ]
            if is_empty:
                raise BadSourceFileError("no plane on which the specimen can be seen")
        except BadInputError as error:
            yield [SliceResult(str(file), None, str(error), specimen)]


def file_size(file: Path) -> int:
    """Return the bytes of a file, 0 if there is none; `read_bounded` then names the fault."""
    return file.stat().st_size if file.is_file() else 0


def edge_of_slices(metadata: Mapping[str, Any]) -> int:
    """Return the edge in pixels of a model's training slices, DEFAULT_EDGE if its metadata do not contain it."""
    try:
        crops = metadata["metadata"]["signature_def"]["signature_def"][CROPS]["inputs"][CROPS]
        return int(crops["tensor_shape"]["dim"][1]["size"])
    except (LookupError, TypeError, ValueError):
        return DEFAULT_EDGE


def read_bounded(file: Path) -> bytes:
    """Read a file that fits into a request.

    Raises:
        BadInputError: The file cannot be read or is too large.
    """
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadInputError(f"{file} has {size} bytes", f"at most {MAX_FILE_BYTES}")
        return file.read_bytes()
    except OSError as error:
        raise BadInputError(f"{file} cannot be read ({error.strerror})") from error


def only_model(client: Client) -> str:
    """Return the name of the server's only model, which may still be loading.

    Raises:
        BadInputError: The server has no model, or several, whether they are served or not.
        DeployError: The server cannot be reached or fails.
    """
    states = client.model_states()
    if not states:
        raise BadInputError(f"{client.url} serves no model yet", "", "Retry when it has loaded a model of `make run`.")
    if len(states) > 1:
        names = ", ".join(f"{name} (which {reason})" if reason else name for name, reason in states.items())
        raise BadInputError(
            f"{client.url} has the models {names}", "one model", "Set --model, or MODEL= of `make ask`, to one of them."
        )
    return next(iter(states))


def model_of(options: argparse.Namespace, address: Address) -> str:
    """Return the name of the model in the options or in the address; empty if neither names one.

    Raises:
        BadInputError: They name different models.
    """
    if options.model and address.model and options.model != address.model:
        problem = f"the model {options.model} at an address of {address.model}"
        raise BadInputError(problem, "one model", "Leave out MODEL, or --model, or take the address of the server.")
    return options.model or address.model


def main(arguments: list[str]) -> int:
    """Run the command.

    Returns:
        0, EXIT_BAD_INPUT if a file was rejected, or EXIT_FAILED if the server does not answer.
    """
    options = parse_arguments(arguments)
    try:
        paths = [*options.paths, *(paths_of(options.images) if options.images else ())]
        files = list_files(paths) if paths else []
        address = parse_address(options.url)
        with Client(address.url, options.timeout, authority=options.ca, host=options.host) as client:
            model = model_of(options, address) or only_model(client)
            files = files or list_files([examples_of(options.examples, model)])
            metadata = client.metadata(model)
            volume_options = SlicingOptions(
                options.slices, edge_of_slices(metadata), options.planes or DEFAULT_SCHEDULE
            )
            results = FilePredictor(client, model, options.specimen, volume_options).predict(files)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    sys.stdout.write(render(results, options.format, describe_model(metadata)))
    return EXIT_BAD_INPUT if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
