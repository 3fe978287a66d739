"""Cost of monitoring: of a large window in the monitor, and of the drift event of a slice in the server."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.measurement import Measurement, peak_resident_bytes, run_in_subprocess

WINDOW_SLICES, WINDOW_SPECIMENS, REFERENCE_SPECIMENS, EMBEDDING = 5000, 100, 96, 240
EVENTS, EDGE = 1280, 224
MOST_SECONDS, MOST_MIB, MOST_MS = 5.0, 700.0, 2.0


def _random_slices(specimens: int, slices: int, seed: int) -> pd.DataFrame:
    """Return slices whose descriptors and predictions vary between and within specimens."""
    from components.shared.images.descriptors import DESCRIPTORS

    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(specimens), slices)
    values = rng.normal(0, 1, (specimens, len(DESCRIPTORS)))[owner] + rng.normal(0, 1, (len(owner), len(DESCRIPTORS)))
    return pd.DataFrame(values, columns=list(DESCRIPTORS)).assign(
        specimen=[f"specimen-{seed}-{number}" for number in owner],
        species=[f"species-{number % 12}" for number in owner],
        confidence=rng.uniform(0.5, 1, len(owner)),
        unknown=rng.random(len(owner)) < 0.05,
        embedding=list(rng.normal(0, 1, (len(owner), EMBEDDING)).astype(np.float32)),
    )


def check_two_windows(folder: str) -> dict[str, Any]:
    """Check two windows and return the cost of the second one, for which everything is imported."""
    from components.shared.reference_profile import write_reference
    from monitoring.config import MonitorConfig
    from monitoring.service.monitor import Monitor
    from tests.monitoring.drift_traffic import MODEL, append_events, events_of
    from tests.serving.conftest import card_of

    models, events = Path(folder) / "models", Path(folder) / "events"
    (models / MODEL / "1").mkdir(parents=True)
    card_of(MODEL).write(models / MODEL / "1" / "model.json")
    write_reference(models / MODEL / "1" / "reference.parquet", _random_slices(REFERENCE_SPECIMENS, 30, 0))
    sizes = {"window_slices": WINDOW_SLICES, "window_specimens": WINDOW_SPECIMENS}
    monitor = Monitor(MonitorConfig(events=events, repository=models, out=Path(folder) / "out", **sizes))
    seconds = []
    for number in (1, 2):
        slices = _random_slices(WINDOW_SPECIMENS, WINDOW_SLICES // WINDOW_SPECIMENS, number)
        append_events(events / f"events-{number}.jsonl", events_of(slices))
        del slices
        start = time.perf_counter(), time.process_time()
        (result,) = monitor.poll()
        seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        assert result.slices == WINDOW_SLICES
    return {"seconds": seconds[1][0], "cpu": seconds[1][1], "mib": peak_resident_bytes() / 2**20}


def _measure_window(scratch: Path) -> Iterator[Measurement]:
    cost = run_in_subprocess(check_two_windows, scratch)
    unit = f"s for a window of {WINDOW_SLICES} slices, {cost['cpu']:.1f} s of CPU time"
    bar = "<= 5 s"
    yield Measurement("drift-window-seconds", cost["seconds"], unit, MOST_SECONDS, cost["seconds"] / MOST_SECONDS, bar)
    yield Measurement("drift-window-memory", cost["mib"], "MiB", MOST_MIB, cost["mib"] / MOST_MIB, "<= 700 MB")


def _measure_slice(scratch: Path) -> Iterator[Measurement]:
    """Record answered slices as the server does, and measure the CPU time of the writing thread."""
    from components.shared.contracts import DriftEvent
    from components.shared.images.decoding import decode_image
    from components.shared.images.segmentation import segment_slice
    from serving.drift_events import EventRecorder, PendingEvent
    from tests.serving.conftest import raw_slice

    rng = np.random.default_rng(0)
    pixels = segment_slice(decode_image(raw_slice(0, (EDGE, EDGE)), 1))
    embedding = tuple(rng.normal(size=EMBEDDING).tolist())
    recorder = EventRecorder(scratch, print)
    prediction = {"model": "forams", "version": 1, "species": "species", "confidence": 0.9, "unknown": False}
    event = DriftEvent(id="0", time=1.8e9, specimen="specimen", descriptors={}, embedding=embedding, **prediction)
    pending_event = PendingEvent(event, pixels)
    for _ in range(EVENTS):
        recorder.record(pending_event)
    start = time.process_time()
    recorder.start()
    recorder.close(60)
    cost = (time.process_time() - start) / EVENTS * 1e3
    assert recorder.dropped == 0
    unit = f"ms for descriptors and event of a slice of {EDGE} px"
    yield Measurement("drift-slice-cost", cost, unit, MOST_MS, cost / MOST_MS, "<= 2 ms")


BENCHMARKS = {"drift-window": _measure_window, "drift-slice": _measure_slice}
