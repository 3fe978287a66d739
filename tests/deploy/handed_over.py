"""Check of the files that the monitor gets of a version."""

from pathlib import Path

from components.shared.model_repository import find_models


def check_handed_over(models: Path, artifact: Path) -> None:
    assert find_models(models) == {"foraminifera": [7]}
    folder = models / "foraminifera" / "7"
    names = ["model.json", "reference.parquet"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (folder / name).read_bytes() == (artifact / "1" / name).read_bytes()
