"""Writes synthetic specimens and their contact sheet: ``python -m components.phantoms --out DIR``."""

import argparse
import sys
from pathlib import Path

from components.phantoms.contact_sheet import contact_sheet
from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.shared.errors import exit_on_error
from components.shared.files import write_atomically


def main() -> None:
    """Reads the command line, writes the specimens, says where they are."""
    parser = argparse.ArgumentParser(prog="python -m components.phantoms", description="Make synthetic specimens.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--specimens", type=int, default=20, help="individuals of each species (20)")
    parser.add_argument("--unseen", type=int, default=4, help="individuals of each unseen species (4)")
    parser.add_argument("--size", type=int, default=64, help="edge of the scanned cube in voxels (64)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (0)")
    given = parser.parse_args()
    config = PhantomConfig(
        specimens_per_species=given.specimens, unseen_per_species=given.unseen, size=given.size, seed=given.seed
    )
    with exit_on_error("phantoms"):
        manifest = generate_phantoms(given.out, config)
        sheet = given.out / "contact_sheet.png"
        write_atomically(sheet, contact_sheet(given.seed))
    sys.stdout.write(f"specimens: {manifest}\ncontact sheet: {sheet}\n")


if __name__ == "__main__":
    main()
