"""Settings of a canary trial: the pipeline parameter `canary`, the data set of the probe and waiting times."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import Field, field_validator

from components.deploy.canary.sequential_test import PAIRS
from components.shared.config import Frozen, checked


class CanarySettings(Frozen):
    """Pipeline parameter `canary`.

    Attributes:
        percent: Percentage of the users' requests that the canary answers during the trial; with 0 only the probe
            compares the two models.
        pairs: Maximum number of known slices that the probe sends to both models.
        slower: Maximum of the median ratio of the canary's latency to the stable model's, over pairs of requests.
        seconds: Time limit of the probe; the canary is rolled back when it is exceeded.
        predictor: URL template of a predictor's Kubernetes Service in Standard mode, as the deploy step reaches it. A
            headless Service listens on the port of its pods, 8080.
        prometheus: URL of a Prometheus server that scrapes the predictors; "" for none.
        watch_s: Seconds for which Prometheus is watched after the probe, before the canary is promoted; they have to
            include at least two scrapes.
    """

    percent: int = Field(default=10, ge=0, le=50)
    pairs: int = Field(default=PAIRS, ge=20, le=100_000)
    slower: float = Field(default=1.5, ge=1.0, allow_inf_nan=False)
    seconds: float = Field(default=1800.0, gt=0, allow_inf_nan=False)
    predictor: str = "http://{service}.{namespace}"
    prometheus: str = ""
    watch_s: float = Field(default=300.0, ge=0, le=86_400, allow_inf_nan=False)

    @field_validator("predictor")
    @classmethod
    def check_predictor(cls, template: str) -> str:
        """Reject a template that gives both predictors one URL: a canary compared with itself always passes."""
        try:
            urls = [template.format(service=service, namespace="n") for service in ("a", "b")]
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(f"{template!r} has placeholders other than {{service}} and {{namespace}}") from error
        if urls[0] == urls[1] or not all(map(_is_url, urls)):
            raise ValueError(f"{template!r} is not a URL like http://{{service}}.{{namespace}}")
        return template

    @field_validator("prometheus")
    @classmethod
    def check_prometheus(cls, url: str) -> str:
        """Reject an invalid URL before the canary serves users."""
        if url and not _is_url(url):
            raise ValueError(f"{url!r} is not a URL like http://prometheus.monitoring:9090")
        return url


def _is_url(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def read_settings(parameter: dict[str, Any]) -> CanarySettings:
    """Validate the pipeline parameter `canary`; integers may be JSON floats.

    Raises:
        BadConfigError: A key is unknown or a value is out of range.
    """
    return checked(CanarySettings, parameter, "canary key")


@dataclass(frozen=True)
class Retries:
    """Waiting times of a rollout.

    Attributes:
        timeout: Seconds within which a model must become ready.
        pause: Seconds between two requests for the state of the cluster.
        drain: Seconds beyond the grace period of the old pods within which the new model must answer all requests.
    """

    timeout: float = 900.0
    pause: float = 5.0
    drain: float = 30.0


@dataclass(frozen=True)
class CanaryTrial:
    """Conditions under which a cluster tries a new model.

    Attributes:
        settings: Pipeline parameter `canary`.
        data: Folder of the data set whose held-out slices the probe sends; None for the examples in the served model.
        retries: Waiting times of the rollout.
    """

    settings: CanarySettings = field(default_factory=CanarySettings)
    data: Path | None = None
    retries: Retries = field(default_factory=Retries)
