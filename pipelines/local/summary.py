"""`summary.json`: what a run came to, for scripts and for people."""

from typing import Any, ClassVar

from pydantic import Field

from components.shared.contracts import Document

EXIT_CODE = {"deployed": 0, "failed": 1, "bad_input": 2, "refused": 3}


class Summary(Document):
    """The outcome of a run; what was not reached is None or empty.

    Attributes:
        outcome: deployed, refused, bad_input or failed.
        message: one sentence about it.
        gate: passed, accuracy, threshold, reasons.
        backbones: metrics on the test set by backbone.
        ensemble: rule and metrics on the test set.
        model: name, version, path.
        report: path of the evaluation's report, a page that opens offline.
        dataset: slices, specimens, classes, refused; `by_class` counts slices, `unseen_slices` those of no class,
            `test_specimens` the test split's specimens by species.
        answer: the request sent at the end and how far its answer was from the evaluation's.
        seconds: wall time by step.
        synthetic: whether the numbers come from synthetic specimens.
    """

    SCHEMA: ClassVar[str] = "taxonflow.summary/1"

    outcome: str
    message: str
    gate: dict[str, Any] | None = None
    backbones: dict[str, dict[str, float]] = Field(default_factory=dict)
    ensemble: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    report: str | None = None
    dataset: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    synthetic: bool
