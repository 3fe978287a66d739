"""Probe of a canary: pairs of requests with the same known slice to the stable model and to the canary."""

import base64
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from components.deploy.canary.connections import ShortLivedClient
from components.deploy.canary.sequential_test import ProbeAnswer, SequentialTest
from components.deploy.canary.settings import CanarySettings, CanaryTrial
from components.deploy.verified_model import VerifiedModel
from components.shared.errors import DeployError
from components.shared.progress import Progress
from components.shared.slices import held_out_split, iterate_split, read_info

_TIMEOUT_S = 10.0
_REPEAT_PAUSE_S = 0.2


@dataclass(frozen=True)
class KnownSlice:
    """Segmented slice of known species.

    Attributes:
        id: Identifier of the slice.
        image: PNG of the slice.
        species: Known species.
    """

    id: str
    image: bytes
    species: str


def probe_slices(model: VerifiedModel, trial: CanaryTrial) -> Sequence[KnownSlice]:
    """Return held-out slices of the trial's data set, or the model's own examples if the trial has no data set.

    Raises:
        ContractError: The data set is damaged or has no held-out slices.
    """
    return _examples(model) if trial.data is None else sample_known_slices(trial.data, trial.settings.pairs)


def _examples(model: VerifiedModel) -> list[KnownSlice]:
    """Return the example slices in the served model, at most one for each species."""
    return [
        KnownSlice(example.id, (model.folder / example.file).read_bytes(), example.species)
        for example in model.card.examples
    ]


def sample_known_slices(folder: Path, count: int, seed: int = 0) -> list[KnownSlice]:
    """Sample slices of the held-out specimens at random, in constant memory (Vitter 1985, algorithm R).

    Args:
        folder: Folder of the data set that the model was evaluated on.
        count: Maximum number of slices.
        seed: Seed of the sample and its order.

    Raises:
        ContractError: The data set is damaged or has no held-out slices.
    """
    info = read_info(folder)
    generator = random.Random(seed)
    sample: list[KnownSlice] = []
    for number, (identifier, label, image) in enumerate(iterate_split(folder, held_out_split(info))):
        index = number if number < count else generator.randrange(number + 1)
        if index < count:
            sample[index : index + 1] = [KnownSlice(identifier, image, info.classes[label])]
    generator.shuffle(sample)
    return sample


@dataclass(frozen=True)
class ProbedModel:
    """Model that the probe asks.

    Attributes:
        url: Predict URL.
        model_id: Id of the model that should answer; "" for a model without an id.
    """

    url: str
    model_id: str = ""


def probe_models(
    models: tuple[ProbedModel, ProbedModel],
    slices: Sequence[KnownSlice],
    test: SequentialTest,
    settings: CanarySettings,
    patience_s: float,
) -> None:
    """Send pairs of requests until the canary is worse or `settings.pairs` are sent; alternate which goes first.

    A pair counts only if each answer comes from the model that was asked; otherwise it is sent again.

    Args:
        models: Stable model and canary.
        slices: Known slices; repeated from the first one if there are fewer than `settings.pairs`.
        test: Sequential test that receives the pairs of answers.
        settings: Number of pairs and time limit.
        patience_s: Seconds for which a pair is sent again while other models answer.

    Raises:
        DeployError: The canary is worse, answers less than half of the requests or exceeds the time limit, another
            model answers in its place, or there is no known slice.
    """
    progress, failures = Progress("deploy", settings.pairs, "pairs of known slices"), 0
    for stable, canary, species in _pairs_of_answers(models, slices, settings, patience_s):
        test.add(stable, canary, species)
        progress.advance(remark=canary.error)
        if violations := test.violations():
            raise DeployError("; ".join(violations) + _last_error(canary))
        failures += canary.species is None
    if 2 * failures > settings.pairs:  # a canary must not pass only because the stable model fails as often
        raise DeployError(f"the canary answered only {settings.pairs - failures} of {settings.pairs} known slices")


def _pairs_of_answers(
    models: tuple[ProbedModel, ProbedModel], slices: Sequence[KnownSlice], settings: CanarySettings, patience_s: float
) -> Iterator[tuple[ProbeAnswer, ProbeAnswer, str | None]]:
    """Yield the answers of the stable model and the canary, and the species if the slice is sent for the first time."""
    if not slices:
        raise DeployError("the probe has no known slice", "at least one", "Deploy a model that has examples.")
    deadline = time.monotonic() + settings.seconds
    with ShortLivedClient(_TIMEOUT_S) as client:
        for number in range(settings.pairs):
            if time.monotonic() > deadline:
                raise DeployError(
                    f"only {number} of {settings.pairs} pairs were answered within {settings.seconds:g} s"
                )
            known_slice = slices[number % len(slices)]
            order = (1, 0) if number % 2 else (0, 1)
            stable, canary = _answers_of(client, models, known_slice.image, order, patience_s)
            yield stable, canary, known_slice.species if number < len(slices) else None


def _answers_of(
    client: ShortLivedClient,
    models: tuple[ProbedModel, ProbedModel],
    image: bytes,
    order: tuple[int, int],
    patience_s: float,
) -> tuple[ProbeAnswer, ProbeAnswer]:
    """Return the answers of the stable model and the canary; repeat the pair while another model answers one."""
    start = time.monotonic()
    while True:
        answers = {index: _predict(client, models[index].url, image) for index in order}
        problem = _stranger(models, (answers[0], answers[1]))
        if not problem:
            return answers[0], answers[1]
        if time.monotonic() - start >= patience_s:
            raise DeployError(f"{problem}, for {time.monotonic() - start:.3g} s")
        client.reconnect()
        time.sleep(_REPEAT_PAUSE_S)


def _stranger(models: tuple[ProbedModel, ProbedModel], answers: tuple[ProbeAnswer, ProbeAnswer]) -> str:
    """Return which model answered in the place of another, "" if each answer is of the model that was asked.

    A model without a known id, one of release 0.1.0 or one that was set manually, may give any answer but the other's.
    """
    for target, other, answer in zip(models, reversed(models), answers, strict=True):
        is_of_other = bool(other.model_id) and answer.model_id == other.model_id
        is_of_target = answer.model_id == target.model_id if target.model_id else not is_of_other
        if answer.species is not None and not is_of_target:
            return f"{target.url} is answered by {_describe(answer.model_id)} instead of {_describe(target.model_id)}"
    return ""


def _describe(model_id: str) -> str:
    return f"model {model_id[:12]}" if model_id else "a model without an id"


def _predict(client: ShortLivedClient, url: str, image: bytes) -> ProbeAnswer:
    body = {"instances": [{"image_bytes": {"b64": base64.b64encode(image).decode()}}]}
    start = time.perf_counter()
    try:
        response = client.post(url, body)
        seconds = time.perf_counter() - start
        if response.status_code != httpx.codes.OK:
            return ProbeAnswer(None, seconds, f"{response.status_code}: {response.text[:200]}")
        (prediction,) = response.json()["predictions"]
        return ProbeAnswer(str(prediction["species"]), seconds, model_id=str(prediction.get("model", "")))
    except httpx.HTTPError as error:
        return ProbeAnswer(None, time.perf_counter() - start, f"unreachable ({error})")
    except (ValueError, KeyError, TypeError) as error:
        return ProbeAnswer(None, time.perf_counter() - start, f"the response is not a prediction ({error!r})")


def _last_error(answer: ProbeAnswer) -> str:
    return f"; its last error was {answer.error}" if answer.error else ""
