"""The layout of a folder without a manifest: species and specimens by the folders and names of the files."""

from components.ingest.sources.base import Source
from components.ingest.sources.class_names import SPLIT_OF_NAME, specimen_of_stem
from components.ingest.sources.file_kinds import kind_of, suffix_of
from components.shared.file_names import is_system_file


def rows_of_folder(source: Source) -> list[dict[str, str]]:
    """Return a row for each file of the folder's kind: volumes if there are any, otherwise photographs."""
    paths = [path for path in source.paths() if not is_system_file(path)]
    kind = kind_of(paths)
    return [_row_of_file(path, suffix) for path in paths if (suffix := suffix_of(path, kind))]


def _row_of_file(path: str, suffix: str) -> dict[str, str]:
    """Return the row of a file by its folders; the species is empty if the file is not in a species' folder."""
    *folders, name = path.split("/")
    split = folders[0].lower() if len(folders) > 1 and folders[0].lower() in SPLIT_OF_NAME else ""
    specimen = specimen_of_stem(name[: -len(suffix)])
    if split:  # each split may number its files from one
        specimen = f"{SPLIT_OF_NAME[split]} {specimen}"
        folders = folders[1:]
    return {"path": path, "species": folders[0] if len(folders) == 1 else "", "specimen": specimen, "split": split}
