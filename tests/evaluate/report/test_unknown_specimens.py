"""The report states how specimens of unknown species are flagged, and how many are."""

from dataclasses import replace

import pytest

from components.evaluate.report import text
from components.evaluate.report.html import report_page
from components.evaluate.report.images import ReportImages
from tests.evaluate.report.test_report import (
    ANSWERS,
    THRESHOLD,
    TRUTHS,
    UNSEEN,
    card,
    findings_of,
    measure_synthetic,
    scores_of,
    synthetic_slices,
)


@pytest.mark.parametrize(("specimens", "promise"), [(48, "at most 5.0"), (9, "9 validation specimens are too few")])
def test_the_report_states_flags_and_thresholds_of_specimens(specimens: int, promise: str) -> None:
    findings = findings_of(measure_synthetic(scores_of(TRUTHS, ANSWERS), synthetic_slices(TRUTHS), UNSEEN))
    threshold = THRESHOLD.model_copy(update={"specimens": specimens, "flagged_known": max(0.05, 1 / (specimens + 1))})
    with_threshold = replace(findings, card=card(findings.score).model_copy(update={"specimen_open_set": threshold}))
    page = report_page(with_threshold, ReportImages()).replace("\N{NO-BREAK SPACE}", " ")
    assert promise in page
    assert "flagged as unknown by the mean score of its slices, with thresholds for 1 to 8 slices" in page
    assert "Flagged: 0 % of the known specimens and 50.0 % of the 2 specimens of unseen species" in page
    assert "the area under the ROC curve is 1.000" in page
    assert not list(text.unknown_specimens_text(findings))
