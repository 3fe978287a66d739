"""The outcome of a run on the console."""

import io
import re
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.local.summary import Summary, print_outcome
from tests.model_cards import model_score


def test_a_path_in_brackets_is_printed_unchanged(tmp_path: Path) -> None:
    output, message = io.StringIO(), "/scans/[old]/[/new] does not exist"
    summary = Summary(outcome="bad_input", message=message, synthetic=False)
    print_outcome(summary, tmp_path / "[a]" / "summary.json", tmp_path, Console(file=output, width=200))
    assert message in output.getvalue()
    assert f"{tmp_path}/[a]/summary.json" in output.getvalue()


def test_commands_with_unusual_paths_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    output, out = io.StringIO(), tmp_path / "it's [new] $x"
    summary = Summary(outcome="deployed", message="", synthetic=False)
    print_outcome(summary, out / "summary.json", out, Console(file=output, width=200))
    line = next(line for line in output.getvalue().splitlines() if "make serve" in line)
    command = line.split("Next: ")[1].split(" serves the model")[0]
    try:
        words = shlex.split(command)
    except ValueError as error:
        words = [str(error)]
    assert words == ["make", "serve", f"OUT={out}"]


def printed(**ensemble: Any) -> str:
    """Return the console's output of a deployed run with one network."""
    output, score = io.StringIO(), model_score(0.9, accuracy_interval=(0.8, 0.95)).model_dump(mode="json")
    backbone = {"accuracy": 0.85, "top3": 1.0, "macro_f1": 0.8, "accuracy_interval": [0.75, 0.925]}
    summary = Summary(
        outcome="deployed",
        message="",
        synthetic=False,
        backbones={"network": backbone},
        ensemble={"rule": "best single: network", **score, **ensemble},
    )
    print_outcome(summary, Path("summary.json"), Path("runs"), Console(file=output, width=200))
    return output.getvalue()


def test_every_accuracy_is_printed_with_its_interval() -> None:
    text = printed()
    assert "Results on the test split" in text
    assert re.search(r"network .* 85\.0% .* 75\.0% to 92\.5% ", text)
    assert re.search(r"ensemble .* 90\.0% .* 80\.0% to 95\.0% ", text)


def test_the_figures_of_folds_are_named_as_such() -> None:
    text = printed(folds={"count": 5, "accuracy": 0.9, "macro_f1": 0.9, "interval": [0.8, 0.95]})
    assert "Results of 5 models on 10 specimens, each tested on those it was not trained on:" in text
    assert "test split" not in text


def test_flagged_specimens_of_unseen_species_are_printed_with_their_number(tmp_path: Path) -> None:
    score = model_score(
        0.9,
        unknown_auroc=0.95,
        unknown_flagged_unseen=0.6,
        unknown_specimen_auroc=0.996,
        unknown_specimens=28,
        unknown_specimens_flagged_unseen=0.964,
        unknown_specimens_flagged_known=0.021,
    )
    output, ensemble = io.StringIO(), {"rule": "the only member", **score.model_dump(mode="json")}
    summary = Summary(outcome="refused", message="", synthetic=False, ensemble=ensemble)
    print_outcome(summary, tmp_path / "summary.json", tmp_path, Console(file=output, width=200))
    text = "96% of the 28 specimens of unseen species flagged, 2.1% of known species (AUROC 1.00)"
    assert text in output.getvalue()
