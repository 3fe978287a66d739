"""User metrics of a canary trial, from a Prometheus server that scrapes TensorFlow Serving."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import httpx
import numpy as np

from components.deploy.canary.sequential_test import BOUND, MAX_EXPONENT
from components.shared.errors import DeployError

_REQUEST_COUNT = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"
_ERROR_RATE_RATIOS = np.linspace(1.5, 20.0, 38)
_MIN_REQUESTS = 100
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Traffic:
    """Requests to the pods of a predictor in a time window.

    Attributes:
        requests: Number of requests.
        errors: Number of requests that failed.
        latency: 95th percentile in seconds, or NaN.
    """

    requests: float
    errors: float
    latency: float


def read_traffic(prometheus: str, namespace: str, deployment: str, window_s: float) -> Traffic | None:
    """Query the traffic of a predictor from Prometheus.

    Requests are predictions that succeeded: `request_count` also counts probes and requests for metadata. Requests that
    failed are counted by their status.

    Args:
        prometheus: URL of the Prometheus server.
        namespace: Namespace of the pods.
        deployment: Name of the predictor's Deployment, the prefix of its pods' names.
        window_s: Length of the window before now, in seconds.

    Returns:
        The traffic; None if the window has no samples of the pods.

    Raises:
        DeployError: Prometheus does not answer.
    """
    pods = f'namespace="{namespace}",pod=~"{deployment}-[a-z0-9]+-[a-z0-9]+"'
    predictions = f'{pods},API="predict"'
    window = f"[{max(1, round(window_s * 1000))}ms]"
    successes = _query_scalar(prometheus, f"sum(increase({_LATENCY}_count{{{predictions}}}{window}))")
    if successes is None:
        return None
    errors = _query_scalar(prometheus, f'sum(increase({_REQUEST_COUNT}{{{pods},status!="OK"}}{window}))') or 0.0
    rates = f"sum by (le) (rate({_LATENCY}_bucket{{{predictions}}}{window}))"
    latency = _query_scalar(prometheus, f"histogram_quantile(0.95, {rates}) / 1e6")  # microseconds
    return Traffic(successes + errors, errors, np.nan if latency is None else latency)


def missing_samples_error(prometheus: str, deployment: str, window_s: float) -> DeployError:
    """Return the error of a window in which Prometheus has no samples of a predictor."""
    return DeployError(
        f"Prometheus at {prometheus} has no samples of {_LATENCY}_count for pods of {deployment} in {window_s:.0f} s",
        "metrics of each predictor",
        "Let Prometheus scrape port 8080 of the predictors' pods, or leave out canary.prometheus.",
    )


def traffic_violations(stable: Traffic, canary: Traffic, slower: float) -> list[str]:
    """Return one sentence for each criterion, errors and latency, in which the canary is worse for its users.

    Errors: if both models are equal, the canary causes a share of the failures equal to its share of the requests. The
    likelihood ratio for error rates of 1.5 to 20 times the stable model's is compared with the bound of
    `components.deploy.canary.sequential_test`. Latency is compared once both models have answered 100 requests.

    Args:
        stable: Traffic of the stable model.
        canary: Traffic of the canary in the same window.
        slower: Maximum ratio of the canary's 95th percentile to the stable model's.
    """
    violations = []
    if _evidence_of_errors(stable, canary) > BOUND:
        violations.append(
            f"users' errors: {canary.errors:.0f} of {canary.requests:.0f} requests to the canary failed, "
            f"{stable.errors:.0f} of {stable.requests:.0f} to the stable model"
        )
    enough_requests = min(stable.requests, canary.requests) >= _MIN_REQUESTS
    if enough_requests and canary.latency > slower * stable.latency:
        violations.append(
            f"users' latency: the canary's 95th percentile is {canary.latency * 1e3:.0f} ms, "
            f"the stable model's {stable.latency * 1e3:.0f} ms"
        )
    return violations


def _evidence_of_errors(stable: Traffic, canary: Traffic) -> float:
    """Return the likelihood ratio of a higher error rate of the canary against equal rates; 1 without requests."""
    requests = stable.requests + canary.requests
    if not requests or not canary.requests:
        return 1.0
    share = min(canary.requests / requests, 1 - 1e-6)
    failure_shares = _ERROR_RATE_RATIOS * share / (_ERROR_RATE_RATIOS * share + 1 - share)
    log_ratios = canary.errors * np.log(failure_shares / share)
    log_ratios += stable.errors * np.log((1 - failure_shares) / (1 - share))
    return float(np.exp(np.minimum(log_ratios, MAX_EXPONENT)).mean())


def _query_scalar(prometheus: str, query: str) -> float | None:
    """Return the value of a query with at most one sample, None without a finite one."""
    try:
        response = httpx.get(
            f"{prometheus.rstrip('/')}/api/v1/query", params={"query": query}, timeout=_TIMEOUT_S, trust_env=False
        )
        response.raise_for_status()
        samples: list[dict[str, Any]] = response.json()["data"]["result"]
        value = float(samples[0]["value"][1]) if samples else None
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DeployError(
            f"Prometheus at {prometheus} returns no user metrics ({error})",
            remedy="Correct canary.prometheus, or leave it out.",
        ) from error
    return value if value is not None and isfinite(value) else None
