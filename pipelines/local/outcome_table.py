"""The few lines a person reads at the end of `make run`."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from pipelines.local.summary import Summary

_COLOUR = {"deployed": "green", "refused": "yellow", "bad_input": "red", "failed": "red"}
_VERDICT = {
    "deployed": "Deployed: the gate passed, and the served answer equals the evaluation's.",
    "refused": "Refused by the gate; what was served before is still served.",
    "bad_input": "Nothing was trained: the input cannot be used.",
    "failed": "The run did not finish.",
}


def show_outcome(summary: Summary, path: Path, out: Path, console: Console) -> None:
    """Prints the verdict, the figures, the answer, and what to do next."""
    colour = _COLOUR[summary.outcome]
    console.print()
    console.print(Panel(f"[bold]{_VERDICT[summary.outcome]}[/bold]\n{escape(summary.message)}", border_style=colour))
    if summary.ensemble:
        source = "synthetic test specimens" if summary.synthetic else "test specimens"
        console.print(f"On {source} that neither training nor validation saw:")
        console.print(_figures(summary, summary.ensemble))
        console.print(_findings(summary.ensemble), highlight=False)
    if summary.answer:
        console.print(_answer(summary.answer), highlight=False)
    if summary.seconds:
        steps = "  ".join(f"{step} {seconds:.0f} s" for step, seconds in summary.seconds.items())
        console.print(f"[dim]{steps}  (all {sum(summary.seconds.values()):.0f} s)[/dim]", highlight=False)
    for line in _next_steps(summary, path, out):
        console.print(line, highlight=False, soft_wrap=True)


def _figures(summary: Summary, ensemble: dict[str, Any]) -> Table:
    table = Table()
    for column in ("model", "accuracy", "top-3", "macro F1"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, found in summary.backbones.items():
        table.add_row(name, *(f"{found[key]:.1%}" for key in ("accuracy", "top3", "macro_f1")))
    table.add_section()
    table.add_row(
        "[bold]ensemble[/bold]", *(f"[bold]{ensemble[key]:.1%}[/bold]" for key in ("accuracy", "top3", "macro_f1"))
    )
    return table


def _findings(ensemble: dict[str, Any]) -> Table:
    """Lists what else was measured of the ensemble, a name and a sentence in each line."""
    low, high = ensemble["accuracy_interval"]
    lines = Table.grid(padding=(0, 2))
    lines.add_row("ensemble", ensemble["rule"])
    lines.add_row("accuracy", f"95 % interval {low:.1%} to {high:.1%}")
    lines.add_row("specimens", f"{ensemble['specimen_accuracy']:.1%} named right by the vote of their slices")
    lines.add_row("confidence", f"calibration error {ensemble['ece']:.3f}")
    if ensemble.get("unknown_auroc") is not None:
        noticed, wrongly = ensemble["unknown_flagged_unseen"], ensemble["unknown_flagged_known"]
        found = f"{noticed:.0%} of the slices of species outside the model noticed, {wrongly:.1%} of known ones wrongly"
        lines.add_row("unknown", f"{found} (AUROC {ensemble['unknown_auroc']:.2f})")
    return lines


def _answer(answer: dict[str, Any]) -> str:
    identifier, species, truth = (escape(answer[key]) for key in ("id", "species", "truth"))
    verdict = "right" if species == truth else f"in truth {truth}"
    return (
        f"Sent slice [bold]{identifier}[/bold] over HTTP: [bold]{species}[/bold], "
        f"{answer['confidence']:.1%} sure ({verdict}); "
        f"largest difference from the evaluation {answer['difference']:.1g}."
    )


def _next_steps(summary: Summary, path: Path, out: Path) -> list[str]:
    shown = out.name if out.parent == Path.cwd() else str(out)
    own = "" if shown == "runs" else f" OUT={escape(shown)}"
    steps = [f"Summary: {escape(str(path))}", *([f"Report:  {escape(summary.report)}"] if summary.report else [])]
    if summary.dataset and summary.dataset["refused"]:
        steps.append(f"Files refused: {len(summary.dataset['refused'])}, each with its reason in the summary.")
    if summary.outcome == "deployed":
        steps += [
            f"Next: [bold]make serve{own}[/bold] serves the model on http://127.0.0.1:8080",
            f"      [bold]make monitor{own}[/bold] watches its answers for drift",
            f"      [bold]make run{own} VOLUMES=folder[/bold] takes your own species/specimen.nii.gz files,",
            f"      [bold]make run{own} PHOTOS=folder[/bold] your own species/photograph.jpg",
        ]
    return steps
