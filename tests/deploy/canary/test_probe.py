"""Sample of known slices for the probe, and pairs of answers that count only if the models asked gave them."""

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path

import pytest

from components.deploy.canary import connections
from components.deploy.canary.connections import ShortLivedClient
from components.deploy.canary.probe import KnownSlice, ProbedModel, probe_models, sample_known_slices
from components.deploy.canary.sequential_test import SequentialTest
from components.deploy.canary.settings import CanarySettings
from components.shared.errors import DeployError
from tests.deploy.draining import TcpProxy
from tests.deploy.slices import write_slices
from tests.http_server import Response, http_server

SLICES = [KnownSlice(f"x/{number}", b"png", "Alveolina") for number in range(20)]
SETTINGS = CanarySettings(pairs=20, slower=1000)
STABLE_ID, CANARY_ID = "1" * 64, "2" * 64


@pytest.mark.parametrize("folds", [0, 5])
def test_known_slices_are_sampled_at_random_without_replacement(folds: int, tmp_path: Path) -> None:
    data = write_slices(tmp_path / "slices", 50, folds)
    identifiers = [known_slice.id for known_slice in sample_known_slices(data, 20)]
    assert len(set(identifiers)) == 20
    assert identifiers != [f"x/{number}" for number in range(20)]
    assert len(sample_known_slices(data, 100)) == 50
    assert [known_slice.id for known_slice in sample_known_slices(data, 20)] == identifiers


def probe(answers: dict[str, Iterator[str]], ids: tuple[str, str], patience_s: float = 5.0) -> SequentialTest:
    """Probe a server whose paths /stable and /canary answer as the given models in order; only the canary is right."""
    test = SequentialTest(SETTINGS.slower)

    def answer(path: str) -> Response:
        model_id = next(answers[path])
        species = "Alveolina" if model_id == ids[1] else "Orbitoides"
        return Response.of_json({"predictions": [{"species": species, **({"model": model_id} if model_id else {})}]})

    with http_server(lambda request: answer(request.path)) as address:
        models = ProbedModel(f"{address}/stable", ids[0]), ProbedModel(f"{address}/canary", ids[1])
        probe_models(models, SLICES, test, SETTINGS, patience_s)
    return test


@pytest.mark.parametrize("ids", [(STABLE_ID, CANARY_ID), ("", CANARY_ID), (STABLE_ID, "")])
def test_a_pair_with_an_answer_of_another_model_is_repeated(ids: tuple[str, str]) -> None:
    stray_stable = chain([ids[0]], repeat(ids[1], 2), repeat(ids[0]))
    stray_canary = chain([ids[1]] * 5, repeat(ids[0], 2), repeat(ids[1]))
    tallies = probe({"/stable": stray_stable, "/canary": stray_canary}, ids).tallies
    assert (tallies["errors"].alike, tallies["agreement"].better) == (20, 20)


def test_a_probe_that_only_hears_another_model_is_a_deploy_error() -> None:
    answers = {"/stable": repeat(STABLE_ID), "/canary": repeat(STABLE_ID)}
    with pytest.raises(DeployError, match="/canary is answered by model 111111111111 instead of model 222222222222"):
        probe(answers, (STABLE_ID, CANARY_ID), patience_s=0.1)


def test_any_model_may_answer_for_one_that_was_set_manually() -> None:
    answers = {"/stable": repeat("3" * 64), "/canary": repeat(CANARY_ID)}
    assert probe(answers, ("", CANARY_ID)).tallies["errors"].alike == 20


def test_no_connection_of_the_probe_becomes_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_AGE_S", 0.2)
    with http_server(lambda _: Response.of_json({})) as address, closing(TcpProxy()) as proxy:
        proxy.port = int(address.rpartition(":")[2])
        with ShortLivedClient(5.0) as client:
            accepted = []
            for _ in range(8):
                client.post(proxy.address, {})
                accepted.append(proxy.accepted)
                time.sleep(0.06)
    assert 2 <= accepted[-1] <= 4
    assert accepted[:2] == [1, 1]
