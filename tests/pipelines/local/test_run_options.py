"""Options that `make run` rejects before or in its first step."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.run import main


@pytest.fixture(autouse=True)
def _own_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM, which `main` replaces."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "nothing"}, "preset 'nothing'"),
        ({"preset": "fossil"}, "VOLUMES"),
        ({"threshold": "2"}, "THRESHOLD=2"),
        ({"rare-species": "some"}, "'rare_species' with value 'some'"),
        ({"folds": "1"}, "'folds': 1 fold has nothing to train on"),
        ({"doubtful-masks": "some"}, "'doubtful_masks' with value 'some'"),
        ({"volumes": "/nowhere"}, "/nowhere"),
        ({"volumes": "ftp://lab/set"}, "ftp://"),
        ({"backbones": "resnet_500", "volumes": "set"}, "resnet_500"),
        ({"seed": "-1"}, "seed -1: expected a whole number from 0"),
    ],
)
def test_an_invalid_option_is_bad_input(
    options: dict[str, str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {"preset": "smoke", "volumes": "", "out": tmp_path / "runs", **options}
    code = main([f"--{key}={value}" for key, value in values.items()])
    output = capfd.readouterr()
    summary = json.loads((tmp_path / "runs" / "latest" / "summary.json").read_text())
    assert (code, summary["outcome"]) == (2, "bad_input"), output.out
    assert words in output.out.replace("\n", " ")
    assert "Traceback" not in output.out + output.err
