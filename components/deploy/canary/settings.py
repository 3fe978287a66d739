"""How a new model is tried beside the one that is served."""

from typing import Any

import httpx
from pydantic import Field, field_validator

from components.deploy.canary.sequential_test import BUDGET
from components.shared.config import Frozen, checked


class CanarySettings(Frozen):
    """The parameter `canary` of the pipeline.

    Attributes:
        percent: of the users' requests that the canary answers while it is judged; 0 judges it by known slices alone.
        pairs: of known slices that stable model and canary are asked at most.
        slower: how many times the stable model's latency the canary may take, in the median.
        seconds: that judging may take; a canary that is not judged by then is rolled back.
        predictor: address of a predictor's Kubernetes Service in Standard mode, as the deploy step reaches it; a
            headless Service listens on its pods' port, 8080.
        prometheus: address of a Prometheus that scrapes the predictors, or "" for none.
        watch_s: seconds that users' requests are watched there before the canary is promoted.
    """

    percent: int = Field(default=10, ge=0, le=50)
    pairs: int = Field(default=BUDGET, ge=20, le=100_000)
    slower: float = Field(default=1.5, ge=1.0, allow_inf_nan=False)
    seconds: float = Field(default=1800.0, gt=0, allow_inf_nan=False)
    predictor: str = "http://{service}.{namespace}"
    prometheus: str = ""
    watch_s: float = Field(default=300.0, ge=0, le=86_400, allow_inf_nan=False)

    @field_validator("predictor")
    @classmethod
    def tells_services_apart(cls, template: str) -> str:
        """Refuses an address that is the same for both predictors: a canary compared with itself is as good."""
        try:
            filled = [template.format(service=service, namespace="n") for service in ("a", "b")]
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(f"{template!r} has other places than {{service}} and {{namespace}}") from error
        if filled[0] == filled[1] or not all(map(_is_address, filled)):
            raise ValueError(f"{template!r} is no address like http://{{service}}.{{namespace}}")
        return template

    @field_validator("prometheus")
    @classmethod
    def is_an_address_or_nothing(cls, given: str) -> str:
        """Refuses what could not be asked once the canary has users."""
        if given and not _is_address(given):
            raise ValueError(f"{given!r} is no address like http://prometheus.monitoring:9090")
        return given


def _is_address(text: str) -> bool:
    try:
        address = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return address.scheme in ("http", "https") and bool(address.host)


def read_settings(given: dict[str, Any]) -> CanarySettings:
    """Checks the pipeline's parameter; numbers may come as JSON's floats.

    Raises:
        BadConfigError: an unknown key or a value that makes no sense.
    """
    return checked(CanarySettings, given, "canary key")


DEFAULTS = CanarySettings()
