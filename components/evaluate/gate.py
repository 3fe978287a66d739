"""The gate: whether an evaluated model may reach users."""

import math
from collections.abc import Mapping

from components.shared.contracts import GateVerdict


def judge(accuracy: float, recall: Mapping[str, float], threshold: float) -> GateVerdict:
    """Judges a model; whatever is missing or not a number fails.

    Args:
        accuracy: slice accuracy of the ensemble on the test specimens, 0..1.
        recall: share of each species' test slices that were recognised; NaN where a species has none.
        threshold: accuracy to reach.

    Returns:
        The verdict with its reasons in sentences.
    """
    reasons = []
    untested = [species for species, share in recall.items() if not math.isfinite(share)]
    if untested or not recall:
        reasons.append(f"No test slices of {', '.join(untested) or 'any species'}.")
    if not math.isfinite(accuracy):
        reasons.append("The accuracy is not a number.")
    elif not accuracy >= threshold:
        reasons.append(f"The ensemble reaches {accuracy:.4f} of the {threshold:.4f} slice accuracy required.")
    passed = not reasons
    if passed:
        reasons.append(f"The ensemble reaches {accuracy:.4f}; {threshold:.4f} is required.")
    return GateVerdict(passed=passed, accuracy=accuracy, threshold=threshold, reasons=tuple(reasons))
