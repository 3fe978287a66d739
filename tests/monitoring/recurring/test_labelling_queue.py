"""The table of slices to label, which is opened in spreadsheets."""

import csv
from pathlib import Path

import pandas as pd

from monitoring.recurring.labelling_queue import TABLE, collect
from tests.monitoring.drift_traffic import events_of


def test_a_specimen_id_is_never_a_formula(clean: pd.DataFrame, tmp_path: Path) -> None:
    names = ("=1+1", "@a", "-drawer", "drawer-12")
    events = [
        event.model_copy(update={"specimen": name}) for event, name in zip(events_of(clean.head(4)), names, strict=True)
    ]
    collect(events, tmp_path / "kept", tmp_path, 10, 1)
    with (tmp_path / TABLE).open() as file:
        assert {row["specimen"] for row in csv.DictReader(file)} == {"'=1+1", "'@a", "'-drawer", "drawer-12"}
