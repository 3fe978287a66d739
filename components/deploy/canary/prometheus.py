"""What users met while a canary was tried, from a Prometheus that scrapes TensorFlow Serving."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import httpx
import numpy as np

from components.deploy.canary.sequential_test import BOUND
from components.shared.errors import DeployError

_COUNT = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency_bucket"
_RATIOS = np.linspace(1.5, 20.0, 38)
_FEWEST_REQUESTS = 100
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Traffic:
    """What a predictor's pods did in a while.

    Attributes:
        requests: how many they answered.
        errors: how many of them with an error.
        latency: 95th percentile in seconds, or NaN.
    """

    requests: float
    errors: float
    latency: float


def traffic_of(prometheus: str, namespace: str, deployment: str, window_s: float) -> Traffic:
    """Asks Prometheus for a predictor's traffic.

    Args:
        prometheus: its address.
        namespace: of the pods.
        deployment: name of the predictor's Deployment, with which its pods' names begin.
        window_s: the seconds before now.

    Raises:
        DeployError: Prometheus does not answer.
    """
    pods = f'namespace="{namespace}",pod=~"{deployment}-[a-z0-9]+-[a-z0-9]+"'
    window = f"[{max(60, round(window_s))}s]"
    count = f"sum(increase({_COUNT}{{{pods}}}{window}))"
    errors = f'sum(increase({_COUNT}{{{pods},status!="OK"}}{window}))'
    latency = f"histogram_quantile(0.95, sum by (le) (rate({_LATENCY}{{{pods}}}{window}))) / 1e6"  # microseconds
    return Traffic(
        _scalar(prometheus, count, 0.0), _scalar(prometheus, errors, 0.0), _scalar(prometheus, latency, np.nan)
    )


def complaints_of_users(stable: Traffic, canary: Traffic, slower: float) -> list[str]:
    """Says in what users were served worse by the canary; none while it may be as good.

    Given that a request failed, it was the canary's with the share of requests that the canary had, if both are alike;
    the ratio of the likelihoods for error rates of 1.5 to 20 times the stable model's is held against the judge's
    bound (as in `components.deploy.canary.sequential_test`). Latency is compared once both have answered enough.

    Args:
        stable: the stable model's traffic.
        canary: the canary's in the same time.
        slower: how many times the stable model's 95th percentile the canary's may be.
    """
    found = []
    if _evidence(stable, canary) > BOUND:
        found.append(
            f"users' errors: {canary.errors:.0f} of {canary.requests:.0f} requests to the canary failed, "
            f"{stable.errors:.0f} of {stable.requests:.0f} to the stable model"
        )
    enough = min(stable.requests, canary.requests) >= _FEWEST_REQUESTS
    if enough and canary.latency > slower * stable.latency:
        found.append(
            f"users' latency: the canary's 95th percentile is {canary.latency * 1e3:.0f} ms, "
            f"the stable model's {stable.latency * 1e3:.0f} ms"
        )
    return found


def _evidence(stable: Traffic, canary: Traffic) -> float:
    requests = stable.requests + canary.requests
    if not requests or not canary.requests:
        return 1.0
    share = min(canary.requests / requests, 1 - 1e-6)
    shares = _RATIOS * share / (_RATIOS * share + 1 - share)
    gain = canary.errors * np.log(shares / share) + stable.errors * np.log((1 - shares) / (1 - share))
    return float(np.exp(np.minimum(gain, 700.0)).mean())


def _scalar(prometheus: str, query: str, nothing: float) -> float:
    """Returns the value of a query whose result has at most one sample."""
    try:
        answer = httpx.get(
            f"{prometheus.rstrip('/')}/api/v1/query", params={"query": query}, timeout=_TIMEOUT_S, trust_env=False
        )
        answer.raise_for_status()
        samples: list[dict[str, Any]] = answer.json()["data"]["result"]
        value = float(samples[0]["value"][1]) if samples else nothing
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DeployError(
            f"Prometheus at {prometheus} does not say how users fared ({error})",
            remedy="Correct canary.prometheus, or leave it out.",
        ) from error
    return value if isfinite(value) else nothing
