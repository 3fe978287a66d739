"""Diagnosis of a run: all checks at the same time, and their lines."""

import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from components.doctor.cluster import AbsentNamespaceError, NotAllowedError
from components.doctor.examination import Examination, create_namespace
from components.doctor.findings import Finding, State, not_allowed, not_met
from components.doctor.requirements import CHECKS, Check

_THREADS = 8
_WIDTH = 118


def diagnose(examination: Examination) -> list[Finding]:
    """Return one finding for each requirement of the run, in the order of `CHECKS`.

    Raises:
        ClusterError: The cluster rejects the credentials.
    """
    checks = [check for check in CHECKS if check.applies(examination)]
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return list(pool.map(lambda check: _finding(check, examination), checks))


def find(name: str, examination: Examination) -> Finding:
    """Return the finding of one requirement.

    Args:
        name: Name of the requirement in `CHECKS`.
        examination: Subject of the checks.
    """
    return _finding(next(check for check in CHECKS if check.name == name), examination)


def lines(findings: Sequence[Finding]) -> str:
    """Return one line for each finding, and its command in the line below."""
    return "\n".join(_line(finding) for finding in findings)


def verdict(findings: Sequence[Finding]) -> str:
    """Return a sentence: whether a run would succeed, and what was not seen."""
    failures = [finding.name for finding in findings if finding.fails]
    advice = [finding.name for finding in findings if finding.state is State.NOT_MET and not finding.is_required]
    hidden_names = [finding.name for finding in findings if finding.state is State.NOT_ALLOWED]
    parts = [
        f"A run would fail. Not met: {', '.join(failures)}." if failures else "A run would succeed, as far as seen."
    ]
    if advice:
        parts.append(f"Not met, but not required: {', '.join(advice)}.")
    if hidden_names:
        parts.append(f"Not allowed to look: {', '.join(hidden_names)}.")
    return " ".join(parts)


def markdown(findings: Sequence[Finding]) -> str:
    """Return the findings as a Markdown table."""
    rows = [
        f"| {finding.name} | {finding.state} | {_cell(finding.sentence)} | {_code(finding.command)} |"
        for finding in findings
    ]
    head = ["| requirement | state | seen | command |", "|---|---|---|---|"]
    return "\n".join(["# Doctor", "", verdict(findings), "", *head, *rows]) + "\n"


def _finding(check: Check, examination: Examination) -> Finding:
    try:
        answer = check.ask(examination)
    except NotAllowedError as error:
        answer = not_allowed(f"cannot be read: {error}", "kubectl auth can-i --list")
    except AbsentNamespaceError as error:
        answer = not_met(f"there is no namespace {error}", create_namespace(examination, str(error)))
    return Finding(check.name, answer.state, answer.sentence, answer.command, check.is_required)


def _line(finding: Finding) -> str:
    head = f"{finding.state:<12} {finding.name:<19} "
    text = textwrap.fill(
        finding.sentence,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    mark = "# an administrator: " if finding.state is State.NOT_ALLOWED else ""
    return f"{text}\n{' ' * len(head)}{mark}{finding.command}" if finding.command else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""
