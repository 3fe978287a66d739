"""`make run`: run the training pipeline on this machine and send the deployed model a first request."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from components.shared.errors import TaxonflowError, exit_code_of
from pipelines.local.process import interrupt
from pipelines.local.run import SUMMARY_FILE, RunOptions, run
from pipelines.local.summary import EXIT_CODES, print_outcome
from pipelines.presets import FOR_PHANTOMS, FOR_PHOTOGRAPHS, FOR_SCANS, default_preset, preset_names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline, print the outcome and return the exit code."""
    options = parse_options(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        summary, folder = run(options, console)
    except TaxonflowError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return exit_code_of(error)
    print_outcome(summary, folder / SUMMARY_FILE, options.out, console)
    return EXIT_CODES[summary.outcome]


def parse_options(arguments: Sequence[str] | None) -> RunOptions:
    """Parse the command line; an empty value counts as absent, because make passes empty values."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    _add_options(parser)
    values = parser.parse_args(arguments)
    try:
        threshold = float(values.threshold) if values.threshold else None
    except ValueError:
        parser.error(f"--threshold {values.threshold!r}: expected a number from 0 to 1. Set THRESHOLD=0.95.")
    try:
        folds = int(values.folds) if values.folds else None
    except ValueError:
        parser.error(f"--folds {values.folds!r}: expected a whole number, 0 for none. Set FOLDS=5.")
    return RunOptions(
        preset=values.preset or default_preset(values.volumes, values.photos),
        volumes=values.volumes or None,
        photos=values.photos or None,
        backbones=tuple(name.strip() for name in values.backbones.split(",") if name.strip()),
        threshold=threshold,
        doubtful_masks=values.doubtful_masks or None,
        rare_species=values.rare_species or None,
        folds=folds,
        seed=values.seed,
        out=values.out.resolve(),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options, each with an empty default, which stands for the preset's value."""
    parser.add_argument(
        "--preset",
        default="",
        help=f"one of {', '.join(preset_names())} (default: {FOR_PHOTOGRAPHS} with photographs, {FOR_SCANS} with "
        f"volumes, otherwise {FOR_PHANTOMS})",
    )
    parser.add_argument(
        "--volumes",
        default="",
        help="folder of species/specimen.nii.gz files, or a manifest.csv; a path, s3:// or gs:// (default: phantoms)",
    )
    parser.add_argument(
        "--photos",
        default="",
        help="folder of species/photograph.jpg files, or a manifest.csv; a path, s3:// or gs:// (default: phantoms)",
    )
    parser.add_argument("--backbones", default="", help="comma-separated backbones (default: those of the preset)")
    parser.add_argument(
        "--threshold", default="", help="slice accuracy that the gate requires, 0 to 1 (default: that of the preset)"
    )
    parser.add_argument(
        "--doubtful-masks", default="", help="scans whose segmentation is doubtful: keep or refuse (default: keep)"
    )
    parser.add_argument(
        "--rare-species",
        default="",
        help="species with fewer than three specimens: unseen, train or refuse (default: unseen)",
    )
    parser.add_argument(
        "--folds",
        default="",
        help="folds in which every specimen is tested once, 0 for none, -1 by the number of specimens (default: -1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="folder for runs, models and events (default: %(default)s)"
    )


if __name__ == "__main__":
    sys.exit(main())
