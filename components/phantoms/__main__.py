"""Command that writes synthetic specimens and their contact sheet: ``python -m components.phantoms --out DIR``."""

import argparse
from pathlib import Path

from components.phantoms.contact_sheet import contact_sheet
from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.shared.errors import exit_on_error
from components.shared.files import write_atomically
from components.shared.progress import log


def main() -> None:
    """Parse the command line, write the specimens, and print their location."""
    parser = argparse.ArgumentParser(prog="python -m components.phantoms", description="Make synthetic specimens.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--specimens", type=int, default=20, help="individuals of each species (20)")
    parser.add_argument("--unseen", type=int, default=4, help="individuals of each unseen species (4)")
    parser.add_argument("--size", type=int, default=64, help="edge of the scanned cube in voxels (64)")
    parser.add_argument("--seed", type=int, default=0, help="seed; the same seed gives the same bytes (0)")
    options = parser.parse_args()
    config = PhantomConfig(
        specimens_per_species=options.specimens, unseen_per_species=options.unseen, size=options.size, seed=options.seed
    )
    with exit_on_error("phantoms"):
        manifest = generate_phantoms(options.out, config)
        sheet = options.out / "contact_sheet.png"
        write_atomically(sheet, contact_sheet(options.seed))
    log("phantoms", f"manifest: {manifest}")
    log("phantoms", f"contact sheet: {sheet}")


if __name__ == "__main__":
    main()
