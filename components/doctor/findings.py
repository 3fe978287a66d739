"""Findings of the doctor: one line for each requirement of a run."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """State of a requirement; NOT_ALLOWED is unknown, because the account may not read it or nothing answered."""

    MET = "met"
    NOT_MET = "not met"
    NOT_ALLOWED = "not allowed"


@dataclass(frozen=True)
class Answer:
    """Answer of a check.

    Attributes:
        state: State of the requirement.
        sentence: Reason for the state, with the values that were seen.
        command: Command that corrects what is not met, or that an administrator may use to look.
    """

    state: State
    sentence: str
    command: str = ""


@dataclass(frozen=True)
class Finding:
    """A line of the doctor.

    Attributes:
        name: Name of the requirement.
        state: State of the requirement.
        sentence: Reason for the state, with the values that were seen.
        command: Command that corrects what is not met, or that an administrator may use to look.
        is_required: Whether a run fails where the requirement is not met.
    """

    name: str
    state: State
    sentence: str
    command: str
    is_required: bool

    @property
    def fails(self) -> bool:
        """Return whether a run would fail."""
        return self.is_required and self.state is State.NOT_MET


def met(sentence: str) -> Answer:
    """Return the answer that a requirement is met."""
    return Answer(State.MET, sentence)


def not_met(sentence: str, command: str) -> Answer:
    """Return the answer that a requirement is not met, with the command that corrects it."""
    return Answer(State.NOT_MET, sentence, command)


def not_allowed(sentence: str, command: str) -> Answer:
    """Return the answer that the requirement could not be seen, with the command for an administrator."""
    return Answer(State.NOT_ALLOWED, sentence, command)
