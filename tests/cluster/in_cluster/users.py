"""Users of the endpoint, in a pod: processes that send known slices until the file /tmp/stop exists.

Each process appends one JSON line per request to /tmp/answers-<number>.jsonl. Odd processes keep their connections,
even ones open a new connection for each request. A request on a kept connection that ends without an answer is sent
once more, as HTTP clients do, and counted in `retries`.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx

STOP = Path("/tmp/stop")
BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
PAUSE_S, TIMEOUT_S = 0.1, 60.0


def main() -> None:
    """Send requests from several processes, then wait for the pod's end, so that the files can be read."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    url, slices, count = os.environ["URL"], Path(sys.argv[1]), int(os.environ["USERS"])
    users = [multiprocessing.Process(target=ask, args=(url, slices, number)) for number in range(count)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    Path("/tmp/stopped").touch()
    while True:
        time.sleep(1)


def ask(url: str, slices: Path, number: int) -> None:
    """Send slices in random order until the file STOP exists."""
    images = json.loads(slices.read_text())
    keeps, generator = bool(number % 2), random.Random(number)
    client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)
    with Path(f"/tmp/answers-{number}.jsonl").open("a") as file:
        for request in range(10**9):
            if STOP.exists():
                return
            name = generator.choice(sorted(images))
            specimen = f"user-{number}-{request}"
            record = {"slice": name, "specimen": specimen, "kept": keeps, **answer(client, url, images[name], specimen)}
            file.write(json.dumps(record) + "\n")
            file.flush()
            if not keeps:
                client.close()
                client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)
            time.sleep(PAUSE_S)


def answer(client: httpx.Client, url: str, image: str, specimen: str) -> dict[str, Any]:
    """Send a request and return what the answer contained."""
    body = {"instances": [{"image_bytes": {"b64": image}, "specimen": specimen}]}
    start, retries = time.time(), 0
    try:
        try:
            response = client.post(url, json=body)
        except BROKEN:
            retries = 1
            response = client.post(url, json=body)
        record = {"status": response.status_code, "retries": retries, "text": ""}
        if response.status_code == httpx.codes.OK:
            (prediction,) = response.json()["predictions"]
            scores = [round(score, 5) for score in prediction["scores"]]
            record.update(model=prediction.get("model", ""), species=prediction["species"], scores=scores)
        else:
            record["text"] = response.text[:300]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        record = {"status": 0, "retries": retries, "text": f"{type(error).__name__}: {error}"[:300]}
    return {"at": start, "seconds": round(time.time() - start, 4), **record}


if __name__ == "__main__":
    main()
