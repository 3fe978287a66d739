"""The time left of a run follows the rate of its current step."""

from pathlib import Path

import pytest

from components.shared.errors import BadConfigError
from pipelines.local.time_left import SHARES, TimeLeft
from pipelines.run import parse_options


class Clock:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_rest_of_a_step_and_later_steps_are_extrapolated(clock: Clock) -> None:
    left = TimeLeft(backbones=1, clock=clock)
    left.start("train")
    assert left.describe() == ""
    clock.seconds = 50.0
    left.advance("train cnn_small", 5, 10)
    later = 1 - sum(SHARES[step] for step in ("phantoms", "ingest", "segment", "train"))
    assert left.seconds() == pytest.approx(50 + 100 * later / SHARES["train"])
    assert left.describe() == "about 2 min left in all"


def test_the_models_of_all_folds_and_backbones_count(clock: Clock) -> None:
    left = TimeLeft(backbones=2, folds=lambda: 4, clock=clock)
    left.start("train")
    for done in (5, 10, 5):  # the served model, and half of that of the first fold
        left.advance("train cnn_small", done, 10)
    clock.seconds = 30.0
    later = 1 - sum(SHARES[step] for step in ("phantoms", "ingest", "segment", "train"))
    assert left.seconds() == pytest.approx(200 * (0.85 + later / SHARES["train"]))


def test_the_slowest_network_counts_and_its_features_do_not(clock: Clock) -> None:
    left = TimeLeft(backbones=2, folds=lambda: 3, clock=clock)
    left.start("train")
    for network, folds in (("efficientnet_lite0", 1), ("cnn_small", 3)):
        for fold in range(folds + 1):
            left.advance(f"train {network}", 57, 57, "features")
            left.advance(f"train {network}", 12, 12, "epochs, validation accuracy 1.000")
            if fold:
                left.advance(f"train {network} folds", fold, 3, "folds")
    clock.seconds = 300.0
    later = 1 - sum(SHARES[step] for step in ("phantoms", "ingest", "segment", "train"))
    assert left.seconds() == pytest.approx(300 + 600 * later / SHARES["train"])


def test_a_new_step_has_no_estimate_before_its_progress(clock: Clock) -> None:
    left = TimeLeft(backbones=1, clock=clock)
    for step in ("train", "evaluate"):
        left.start(step)
        clock.seconds += 10
        assert left.seconds() is None


def test_only_the_ingest_of_phantoms_predicts_the_training(clock: Clock) -> None:
    for steps, seconds in ((("ingest",), None), (("phantoms", "ingest"), 5 + 10 * (0.81 + 0.01) / SHARES["ingest"])):
        left = TimeLeft(backbones=1, clock=clock)
        for step in steps:
            left.start(step)
        clock.seconds += 5
        left.advance("ingest", 5, 10, "specimens")
        assert left.seconds() == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("arguments", "preset"),
    [
        ([], "sample"),
        (["--preset="], "sample"),
        (["--photos={}"], "photographs"),
        (["--volumes={}"], "scans"),
        (["--photos={}", "--preset=smoke"], "smoke"),
        (["--volumes={}", "--photos="], "scans"),
    ],
)
def test_the_input_selects_the_preset_unless_one_is_named(arguments: list[str], preset: str, tmp_path: Path) -> None:
    try:
        options = parse_options([argument.format(tmp_path) for argument in arguments])
    except BadConfigError as error:
        pytest.fail(str(error))
    assert options.preset == preset
