"""`python -m serving.client slice.png ...`: asks an endpoint what slices show."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from components.shared.errors import EXIT_BAD_INPUT, EXIT_FAILED, BadInputError, TaxonflowError
from serving.client.endpoint import DEFAULT_URL, MAX_BATCH_SLICES, Client
from serving.client.report import FORMATS, AnsweredFile, render

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
LARGEST_FILE_BYTES = 11 * 2**20  # base64 makes it a third larger, and a server takes 16 MiB


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser("python -m serving.client", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="images, or folders of images")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's address (default {DEFAULT_URL})")
    parser.add_argument("--model", help="the model's name; may be left out where the server has one")
    parser.add_argument("--specimen", help="the specimen that all slices are from")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of what is printed")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds for one request")
    return parser.parse_args(arguments)


def images_of(paths: Sequence[Path]) -> list[Path]:
    """Lists the image files among files and folders (with all that is below them).

    Raises:
        BadInputError: a path does not exist, or there is no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise BadInputError(f"{path} does not exist", "an image file or a folder of them")
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [
            file for file in below if path.is_file() or (file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        ]
    if not found:
        raise BadInputError("no image", f"files that end with {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def ask_for_files(client: Client, model: str, files: Sequence[Path], specimen: str | None) -> list[AnsweredFile]:
    """Asks for files, a batch at a time, with progress on standard error; a refused file is noted and the rest goes on.

    Raises:
        DeployError: the server cannot be reached or fails.
    """
    starts = range(0, len(files), MAX_BATCH_SLICES)
    answered: list[AnsweredFile] = []
    for start in track(starts, "asking", console=Console(stderr=True), transient=True, disable=len(starts) == 1):
        answered += ask_for_batch(client, model, files[start : start + MAX_BATCH_SLICES], specimen)
    return answered


def ask_for_batch(client: Client, model: str, files: Sequence[Path], specimen: str | None) -> list[AnsweredFile]:
    """Asks for files in one go, or one by one where the server refuses one of them; raises DeployError."""
    try:
        predictions = client.predict(model, [bounded_bytes(file) for file in files], specimen)
        return [AnsweredFile(str(file), prediction) for file, prediction in zip(files, predictions, strict=True)]
    except BadInputError as error:
        if len(files) == 1:
            return [AnsweredFile(str(files[0]), None, str(error))]
    return [answered for file in files for answered in ask_for_batch(client, model, [file], specimen)]


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
    if len(names) != 1:
        raise BadInputError(
            f"{client.url} has {len(names)} models ({', '.join(names)})", "one", "Choose it with --model."
        )
    return names[0]


def main(arguments: list[str]) -> int:
    """Runs the command.

    Returns:
        0, EXIT_BAD_INPUT when the server refused a file, or EXIT_FAILED when it cannot be asked.
    """
    options = parse_arguments(arguments)
    try:
        files = images_of(options.paths)
        with Client(options.url, options.timeout) as client:
            answered = ask_for_files(client, options.model or only_model(client), files, options.specimen)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_INPUT if isinstance(error, BadInputError) else EXIT_FAILED
    sys.stdout.write(render(answered, options.format))
    return EXIT_BAD_INPUT if any(file.error for file in answered) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
