"""`summary.json`, the outcome of a run as a document, and its text on the console."""

import shlex
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from components.shared.contracts.document import Document

EXIT_CODES = {"deployed": 0, "failed": 1, "bad_input": 2, "refused": 3}
_COLOURS = {"deployed": "green", "refused": "yellow", "bad_input": "red", "failed": "red"}
_HEADLINES = {
    "deployed": "Deployed: the gate passed, and the served model reproduces the evaluation.",
    "refused": "Rejected by the gate: the model was not deployed; older versions are still served.",
    "bad_input": "Invalid input: no model was trained.",
    "failed": "Failed: the run did not finish.",
}


class Summary(Document):
    """Outcome of a run; fields of steps that did not run are None or empty.

    Attributes:
        outcome: One of deployed, refused, bad_input and failed.
        message: One sentence about the outcome.
        gate: Verdict of the gate: passed, accuracy, threshold, reasons.
        backbones: Metrics on the test slices by backbone.
        ensemble: Rule and metrics of the ensemble on the test slices; `folds` has count, accuracy, macro_f1 and
            interval of cross-validation, None if the served model itself was tested.
        model: Deployed version: name, version, path.
        report: Path of the evaluation's report, an HTML page that opens offline.
        dataset: Counts and lists of the data set: `slices` and `specimens` of the species in `classes`, `by_class` the
            slices of each, `unseen_slices` those of species outside the model; `folds` the number of folds, 0 for a
            test split, and `test_specimens` the tested specimens of each species; `rare_species`, `passed_over` and
            `refused` as in `dataset.json`.
        answer: First request to the deployed model, and the difference between its scores and the evaluation's.
        seconds: Wall time by step.
        synthetic: True if the figures are of synthetic specimens.
    """

    SCHEMA: ClassVar[str] = "taxonflow.summary/1"

    outcome: str
    message: str
    gate: dict[str, Any] | None = None
    backbones: dict[str, dict[str, Any]] = Field(default_factory=dict)
    ensemble: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    report: str | None = None
    dataset: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    synthetic: bool


def print_outcome(summary: Summary, path: Path, out: Path, console: Console) -> None:
    """Print the outcome, the figures, the first request and the next commands.

    Args:
        summary: Outcome of the run.
        path: Path of the summary's file.
        out: Folder of runs, models and events.
        console: Console to print to.
    """
    colour = _COLOURS[summary.outcome]
    console.print()
    console.print(Panel(f"[bold]{_HEADLINES[summary.outcome]}[/bold]\n{escape(summary.message)}", border_style=colour))
    if summary.ensemble:
        console.print(_origin_of_results(summary, summary.ensemble))
        console.print(_model_table(summary, summary.ensemble))
        console.print(_ensemble_table(summary.ensemble), highlight=False)
    if summary.answer:
        console.print(_first_request_text(summary.answer), highlight=False)
    if summary.seconds:
        steps = "  ".join(f"{step} {seconds:.0f} s" for step, seconds in summary.seconds.items())
        console.print(f"[dim]{steps}  (total {sum(summary.seconds.values()):.0f} s)[/dim]", highlight=False)
    for line in _next_steps(summary, path, out):
        console.print(line, highlight=False, soft_wrap=True)


def _origin_of_results(summary: Summary, ensemble: dict[str, Any]) -> str:
    """Return a line on the specimens and the models of the results."""
    kind = "synthetic specimens" if summary.synthetic else "specimens"
    if folds := ensemble.get("folds"):
        number = ensemble["specimens"]
        return f"Results of {folds['count']} models on {number} {kind}, each tested on those it was not trained on:"
    return f"Results on the test split ({kind} held out from training and validation):"


def _model_table(summary: Summary, ensemble: dict[str, Any]) -> Table:
    table = Table()
    for column in ("model", "accuracy", "95 % interval", "top-3", "macro F1"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, metrics in summary.backbones.items():
        table.add_row(name, *_figures(metrics))
    table.add_section()
    table.add_row("[bold]ensemble[/bold]", *(f"[bold]{figure}[/bold]" for figure in _figures(ensemble)))
    return table


def _figures(metrics: dict[str, Any]) -> tuple[str, ...]:
    """Return accuracy, its interval over specimens, top-3 accuracy and macro F1 of a model as text."""
    interval = metrics.get("accuracy_interval")
    interval_text = f"{interval[0]:.1%} to {interval[1]:.1%}" if interval else "-"
    return f"{metrics['accuracy']:.1%}", interval_text, f"{metrics['top3']:.1%}", f"{metrics['macro_f1']:.1%}"


def _ensemble_table(ensemble: dict[str, Any]) -> Table:
    """Return the other metrics of the ensemble, a name and a sentence in each line."""
    lines = Table.grid(padding=(0, 2))
    lines.add_row("ensemble", ensemble["rule"])
    lines.add_row("specimens", f"{ensemble['specimen_accuracy']:.1%} classified correctly by the vote of their slices")
    lines.add_row("calibration", f"expected calibration error {ensemble['ece']:.3f}")
    if ensemble.get("unknown_auroc") is not None:
        unseen, false_alarms = ensemble["unknown_flagged_unseen"], ensemble["unknown_flagged_known"]
        text = f"{unseen:.0%} of the slices of unseen species flagged, {false_alarms:.1%} of known species"
        lines.add_row("unknown", f"{text} (AUROC {ensemble['unknown_auroc']:.2f})")
    if ensemble.get("unknown_specimen_auroc") is not None:
        lines.add_row("", _unknown_specimens_text(ensemble))
    return lines


def _unknown_specimens_text(ensemble: dict[str, Any]) -> str:
    unseen, false_alarms = ensemble["unknown_specimens_flagged_unseen"], ensemble["unknown_specimens_flagged_known"]
    text = f"{unseen:.0%} of the {ensemble['unknown_specimens']} specimens of unseen species flagged"
    return f"{text}, {false_alarms:.1%} of known species (AUROC {ensemble['unknown_specimen_auroc']:.2f})"


def _first_request_text(answer: dict[str, Any]) -> str:
    identifier, species, truth = (escape(answer[key]) for key in ("id", "species", "truth"))
    verdict = "correct" if species == truth else f"wrong: the species is {truth}"
    return (
        f"First request over HTTP: slice [bold]{identifier}[/bold] is [bold]{species}[/bold] "
        f"with confidence {answer['confidence']:.1%} ({verdict}); "
        f"largest difference from the evaluation's scores: {answer['difference']:.1g}."
    )


def _next_steps(summary: Summary, path: Path, out: Path) -> list[str]:
    folder = out.name if out.parent == Path.cwd() else str(out)
    setting = "" if folder == "runs" else f" OUT={escape(shlex.quote(folder))}"
    steps = [f"Summary: {escape(str(path))}", *([f"Report:  {escape(summary.report)}"] if summary.report else [])]
    if summary.dataset and summary.dataset["refused"]:
        steps.append(f"Rejected files: {len(summary.dataset['refused'])}. The summary lists each with its reason.")
    if summary.outcome == "deployed":
        steps += [
            f"Next: [bold]make serve{setting}[/bold] serves the model at http://127.0.0.1:8080",
            f"      [bold]make monitor{setting}[/bold] checks its predictions for drift",
            f"      [bold]make run{setting} VOLUMES=folder[/bold] trains on your species/specimen.nii.gz files",
            f"      [bold]make run{setting} PHOTOS=folder[/bold] trains on your species/photograph.jpg files",
        ]
    return steps
