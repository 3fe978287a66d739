"""`make clean`: remove what runs left in the output folder, and nothing else.

A file is removed if Taxonflow writes a file of its path, and its own content, or that of another file of its folder,
shows that Taxonflow wrote it. All other files remain and are named.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import BadConfigError, TaxonflowError, exit_code_of

_RUN = r"\d{8}-\d{6}a*"
_PROOF_BYTES = 2**16
_MAX_NAMED = 5


@dataclass(frozen=True)
class Rule:
    """Files of one kind that Taxonflow writes.

    Attributes:
        paths: Pattern of their paths relative to the output folder; the group `root` is the folder of the proofs.
        proofs: Globs in that folder, and text that the head of a matching file contains; none for the file itself.
    """

    paths: re.Pattern[str]
    proofs: tuple[tuple[str, bytes], ...]

    def applies(self, out: Path, path: Path) -> bool:
        """Return True if the path matches and there is a proof."""
        match = self.paths.fullmatch(path.relative_to(out).as_posix())
        if not match:
            return False
        root = out / match["root"] if "root" in self.paths.groupindex else None
        return any(
            _contains(candidate, text)
            for glob, text in self.proofs
            for candidate in ([path] if root is None else root.glob(glob))
        )


_DEMO = rf"(demo/{_RUN}/)?"
_RULES = (
    Rule(re.compile(r"\.lock(\.owner)?|models/[^/]+/(\.publishing(\.owner)?|\.unfinished-\d+/.+)"), (("", b""),)),
    Rule(re.compile(r"benchmarks\.json"), (("", b'"reference"'),)),
    Rule(re.compile(r"compiled/(kubernetes/)?taxonflow-[a-z-]+\.yaml"), (("", b"taxonflow"),)),
    Rule(re.compile(rf"{_DEMO}events/events-[^/]+\.jsonl"), (("", b'{"schema":"taxonflow.drift-event/'),)),
    Rule(
        re.compile(rf"(?P<root>{_RUN})/(summary\.json|run\.log|server\.log|pipeline/taxonflow-[^/]+/.+)"),
        (("summary.json", b'"taxonflow.summary/'), ("pipeline/taxonflow-*", b"")),
    ),
    Rule(
        re.compile(
            r"(?P<root>models/[^/]+/[1-9]\d*)/((model|digests)\.json|[^/]+\.(sig|pb|parquet)"
            r"|(variables|assets|assets\.extra|examples)/.+)"
        ),
        (("model.json", b'"taxonflow.served-model/'),),
    ),
    Rule(
        re.compile(
            rf"(?P<root>{_DEMO}monitoring)/((workspace|prometheus)/.+|(prometheus|evidently)\.log|state\.json"
            r"|window-[^/]+\.json|(report-[^/]+|latest)\.html|to_label\.csv|slices/[^/]+\.png|events-drifted\.jsonl)"
        ),
        (
            ("state.json", b'"taxonflow.monitor-state/'),
            ("prometheus/rules.yaml", b"Taxonflow"),
            ("evidently.log", b""),
        ),
    ),
    Rule(
        re.compile(rf"(?P<root>demo/{_RUN})/((server|monitor)\.log|kept/\d{{15}}-[^/]+\.png)"),
        (("server.log", b""),),
    ),
    Rule(
        re.compile(
            r"(?P<root>phantoms)/((manifest|unseen)\.csv|contact_sheet\.png"
            r"|(volumes|unseen|masks)/(?P<species>[A-Za-z]+)/(?i:(?P=species))-\d{3}\.nii\.gz)"
        ),
        (("unseen.csv", b"path,species,specimen"),),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Remove the files of runs and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.local.clean", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    try:
        remove_runs(parser.parse_args(arguments).out)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    return 0


def remove_runs(out: Path) -> None:
    """Remove the files of runs and the folders that are empty then; name the files that remain.

    Raises:
        BadConfigError: The folder is the root, the home folder, contains the working directory, or cannot be changed.
    """
    folder = out.resolve()
    if folder in (Path("/"), Path.home().resolve()) or Path.cwd().resolve().is_relative_to(folder):
        raise BadConfigError(f"OUT={out}", "a folder of runs", "Set OUT to the folder of a run.")
    if not folder.is_dir():
        return
    paths = _paths(folder)
    own = [path for path in paths if _is_of_runs(folder, path)]
    try:
        for path in own:
            path.unlink()
        _remove_empty(folder, own)
    except OSError as error:
        raise BadConfigError(f"{error.filename} ({error.strerror})", "a file that can be removed") from error
    others = sorted(str(path.relative_to(folder)) for path in set(paths).difference(own))
    if others:
        more = f" and {len(others) - _MAX_NAMED} more" if len(others) > _MAX_NAMED else ""
        names = ", ".join(others[:_MAX_NAMED])
        sys.stdout.write(f"{out} contains other files, which remain: {names}{more}.\n")


def _paths(folder: Path) -> list[Path]:
    """Return files and links below a folder; links to folders are not followed."""
    return [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]


def _is_of_runs(folder: Path, path: Path) -> bool:
    if path.is_symlink() and path.parent == folder:
        is_link_of_runs = path.name in ("latest", ".latest.new")
        return is_link_of_runs and bool(re.fullmatch(_RUN, str(path.readlink())))
    return any(rule.applies(folder, path) for rule in _RULES)


def _contains(path: Path, text: bytes) -> bool:
    """Return True if a path exists and, unless the text is empty, is a file with the text in its head."""
    if not text:
        return path.exists() or path.is_symlink()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return text in file.read(_PROOF_BYTES)


def _remove_empty(folder: Path, paths: Sequence[Path]) -> None:
    """Remove empty folders out of which files were removed or which runs create, deepest first."""
    folders = {parent for path in paths for parent in path.parents if parent.is_relative_to(folder)}
    folders |= {path for path in folder.rglob("*") if path.is_dir() and _created_by_runs(folder, path)} | {folder}
    for path in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        if not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def _created_by_runs(folder: Path, path: Path) -> bool:
    top = path.relative_to(folder).parts[0]
    return bool(re.fullmatch(rf"{_RUN}|models|events|monitoring|demo|phantoms|compiled", top))


if __name__ == "__main__":
    sys.exit(main())
