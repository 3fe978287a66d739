"""Validation of the canary settings."""

from typing import Any

import pytest

from components.deploy.canary.settings import read_settings
from components.shared.errors import BadConfigError


@pytest.mark.parametrize(
    ("canary", "problem"),
    [
        ({"percent": 60}, "'percent' with value 60"),
        ({"share": 5}, "'share'"),
        ({"predictor": "http://same"}, "is not a URL like"),
        ({"predictor": "http://{pod}"}, "placeholders other than"),
        ({"predictor": "http://{service}:port"}, "is not a URL like"),
        ({"prometheus": "http://prometheus:port"}, "is not a URL like"),
        ({"prometheus": "prometheus:9090"}, "is not a URL like"),
    ],
)
def test_an_invalid_canary_setting_is_rejected(canary: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadConfigError, match=problem):
        read_settings(canary)
