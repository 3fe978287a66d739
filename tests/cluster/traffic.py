"""Users of the endpoint during the tests, and the check of every answer that they got."""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.shared.contracts import SERVED_TOLERANCE
from tests.cluster.kubectl import Kubectl, say, wait_for
from tests.cluster.pods import SCRIPTS, pod, wait_until_running
from tests.cluster.settings import MODEL, PART, Settings

Answer = dict[str, Any]
KnownAnswers = dict[tuple[str, str], tuple[float, ...]]
"""Scores of a model for a slice, by the model's id and the slice's."""
_POD, _USERS = "taxonflow-test-users", 4


class Users:
    """Processes in a pod that send known slices to the endpoint all the time.

    Args:
        kubectl: kubectl of the endpoint's namespace.
        settings: Settings of the tests.
    """

    def __init__(self, kubectl: Kubectl, settings: Settings) -> None:
        self._kubectl, self._settings = kubectl, settings

    def start(self, images: Mapping[str, bytes]) -> None:
        """Start the users.

        Args:
            images: Slices to send, by name.
        """
        encoded = {name: base64.b64encode(image).decode() for name, image in images.items()}
        files = {"users.py": (SCRIPTS / "users.py").read_text(), "slices.json": json.dumps(encoded)}
        metadata = {"name": _POD, "labels": PART}
        url = f"http://{MODEL}-transformer.{self._settings.namespace}/v1/models/{MODEL}:predict"
        self._kubectl.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
            pod(
                _POD,
                self._settings.image("serving"),
                ["python", "/files/users.py", "/files/slices.json"],
                files=_POD,
                variables={"URL": url, "USERS": str(_USERS)},
            ),
        )
        wait_until_running(self._kubectl, _POD)
        wait_for("the users have answers", self.answers, 60)

    def answers(self) -> list[Answer]:
        """Return all answers so far, in the order of the requests."""
        text = self._kubectl.run("exec", _POD, "--", "sh", "-c", "cat /tmp/answers-*.jsonl")
        lines = [line for line in text.splitlines() if line.endswith("}")]
        return sorted((json.loads(line) for line in lines), key=lambda answer: answer["at"])

    def stop(self) -> list[Answer]:
        """Stop the users and return all answers."""
        self._kubectl.run("exec", _POD, "--", "touch", "/tmp/stop")
        ended = ["exec", _POD, "--", "test", "-e", "/tmp/stopped"]
        wait_for("the users stopped", lambda: self._kubectl.attempt(*ended).returncode == 0, 90)
        return self.answers()


def summarise(answers: Sequence[Answer]) -> str:
    """Return a sentence with the number of requests, failures, retries, latencies and answers of each model."""
    seconds = sorted(answer["seconds"] for answer in answers) or [0.0]
    p50, p99 = (1000 * seconds[int(len(seconds) * share)] for share in (0.5, 0.99))
    models = Counter(answer.get("model", "")[:12] or "no model" for answer in answers)
    counts = ", ".join(f"{count} by {model}" for model, count in models.most_common())
    return (
        f"{len(answers)} requests, {len(failures(answers))} failed, {sum(a['retries'] for a in answers)} sent again; "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {seconds[-1]:.2f} s; {counts}"
    )


def failures(answers: Iterable[Answer]) -> list[Answer]:
    """Return the requests that were not answered with status 200."""
    return [answer for answer in answers if answer["status"] != 200]


def misnamed(answers: Iterable[Answer], known: KnownAnswers) -> list[str]:
    """Return a sentence for each answer whose scores are not those of the model that it names.

    Args:
        answers: Answers of the users.
        known: Scores of the models. Scores of a model or a slice that are not in it are taken from the first answer.
    """
    expected, found = dict(known), []
    for answer in answers:
        if answer["status"] != 200:
            continue
        scores = tuple(answer["scores"])
        reference = expected.setdefault((answer["model"], answer["slice"]), scores)
        difference = max(abs(a - b) for a, b in zip(scores, reference, strict=True))
        if difference > SERVED_TOLERANCE or not answer["model"]:
            found.append(
                f"{answer['slice']} of {answer['specimen']} names {answer['model']!r}: off by {difference:.2g}"
            )
    return found


def say_traffic(answers: Sequence[Answer]) -> None:
    """Print the summary of answers, and the first failures."""
    say(f"users: {summarise(answers)}")
    for answer in failures(answers)[:5]:
        say(f"  failed: {answer}")
