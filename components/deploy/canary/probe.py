"""Asks the stable model and the canary for the same known slices, side by side, until the judge knows."""

import base64
import time
from collections.abc import Iterator, Sequence

import httpx

from components.deploy.canary.known_slices import KnownSlice
from components.deploy.canary.sequential_test import Answer, CanaryJudge
from components.shared.errors import DeployError
from components.shared.progress import Progress

_TIMEOUT_S = 10.0


def judge_in_pairs(
    stable_url: str, canary_url: str, slices: Sequence[KnownSlice], judge: CanaryJudge, pairs: int, seconds: float
) -> None:
    """Sends pairs until the canary is worse or the budget is spent; who is asked first alternates.

    Args:
        stable_url: predict URL of the stable model.
        canary_url: predict URL of the canary.
        slices: known slices; asked again from the first one when there are fewer than `pairs`.
        judge: takes the pairs.
        pairs: the budget.
        seconds: the time limit.

    Raises:
        DeployError: the canary is worse or answers less than half of the time, the time was too short, or there is
            nothing to ask.
    """
    progress, unanswered = Progress("deploy", pairs, "pairs of known slices"), 0
    for stable, canary, known in _answers((stable_url, canary_url), slices, pairs, seconds):
        judge.add(stable, canary, known)
        progress.advance(remark=canary.trouble[:120])
        if complaints := judge.complaints():
            raise DeployError("; ".join(complaints) + _last_trouble(canary))
        unanswered += canary.species is None
    if 2 * unanswered > pairs:  # as bad as a stable model that is broken, too, is not good enough
        raise DeployError(f"the canary answered only {pairs - unanswered} of {pairs} known slices")


def _answers(
    urls: tuple[str, str], slices: Sequence[KnownSlice], pairs: int, seconds: float
) -> Iterator[tuple[Answer, Answer, str | None]]:
    """Yields the stable model's and the canary's answer, and the species if the slice is asked for the first time."""
    if not slices:
        raise DeployError("no known slice to judge the canary by", "some", "Deploy a model that carries examples.")
    until = time.monotonic() + seconds
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        for number in range(pairs):
            if time.monotonic() > until:
                raise DeployError(f"only {number} of {pairs} pairs were answered within {seconds:g} s")
            known = slices[number % len(slices)]
            answers = _ask_both(client, urls, known.image, canary_first=bool(number % 2))
            yield *answers, known.species if number < len(slices) else None


def _ask_both(client: httpx.Client, urls: tuple[str, str], image: bytes, canary_first: bool) -> tuple[Answer, Answer]:
    """Returns the stable model's and the canary's answer, whoever was asked first."""
    order = reversed(urls) if canary_first else iter(urls)
    first, second = (_ask(client, url, image) for url in order)
    return (second, first) if canary_first else (first, second)


def _ask(client: httpx.Client, url: str, image: bytes) -> Answer:
    body = {"instances": [{"image_bytes": {"b64": base64.b64encode(image).decode()}}]}
    began = time.perf_counter()
    try:
        response = client.post(url, json=body)
        seconds = time.perf_counter() - began
        if response.status_code != httpx.codes.OK:
            return Answer(None, seconds, f"{response.status_code}: {response.text[:200]}")
        (prediction,) = response.json()["predictions"]
        return Answer(str(prediction["species"]), seconds)
    except httpx.HTTPError as error:
        return Answer(None, time.perf_counter() - began, f"it cannot be reached ({error})")
    except (ValueError, KeyError, TypeError) as error:
        return Answer(None, time.perf_counter() - began, f"its answer is no prediction ({error!r})")


def _last_trouble(answer: Answer) -> str:
    return f"; its last answer was {answer.trouble}" if answer.trouble else ""
