"""The outcome of a run on the console."""

import io
import shlex
from pathlib import Path

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
