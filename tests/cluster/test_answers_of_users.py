"""The check of the users' answers, without a cluster: it finds what the tests on a cluster look for."""

from typing import Any

from tests.cluster.traffic import failures, misnamed

KNOWN = {("a", "slice"): (0.9, 0.1), ("b", "slice"): (0.2, 0.8)}


def answer(model: str, scores: tuple[float, ...], status: int = 200) -> dict[str, Any]:
    return {"model": model, "slice": "slice", "specimen": "user-0-0", "scores": list(scores), "status": status}


def test_an_answer_with_the_scores_of_another_model_is_found() -> None:
    assert misnamed([answer("a", (0.9, 0.1)), answer("b", (0.2, 0.8))], KNOWN) == []
    assert len(misnamed([answer("a", (0.2, 0.8)), answer("b", (0.9, 0.1))], KNOWN)) == 2


def test_scores_of_an_unknown_model_must_not_change() -> None:
    assert misnamed([answer("c", (0.5, 0.5)), answer("c", (0.5, 0.5))], KNOWN) == []
    assert len(misnamed([answer("c", (0.5, 0.5)), answer("c", (0.2, 0.8))], KNOWN)) == 1


def test_an_answer_without_a_name_is_found() -> None:
    assert len(misnamed([answer("", (0.9, 0.1))], KNOWN)) == 1


def test_a_request_without_status_200_is_a_failure() -> None:
    answers = [answer("a", (0.9, 0.1)), answer("a", (), 503), answer("a", (), 0)]
    assert [item["status"] for item in failures(answers)] == [503, 0]
