"""A real object store for tests: SeaweedFS with an S3 gateway on loopback."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import fsspec

WEED = Path(sys.executable).with_name("weed")
SECRET = "lab-secret-key"  # noqa: S105 secret of a server that runs only during the tests
IDENTITIES = {
    "identities": [
        {"name": "lab", "credentials": [{"accessKey": "lab", "secretKey": SECRET}], "actions": ["Admin"]},
        {
            "name": "deployer",
            "credentials": [{"accessKey": "deployer", "secretKey": SECRET}],
            "actions": [f"{action}:runs/taxonflow/served/lab/*" for action in ("Read", "Write", "List")],
        },
        {"name": "guest", "credentials": [{"accessKey": "guest", "secretKey": SECRET}], "actions": ["Read:elsewhere"]},
    ]
}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


class ObjectStore:
    """A SeaweedFS server with an S3 gateway on loopback that can be killed and restarted."""

    secret = SECRET

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        (folder / "identities.json").write_text(json.dumps(IDENTITIES))
        self.ports = free_ports(8)
        self.endpoint = f"http://127.0.0.1:{self.ports[0]}"

    def start(self) -> None:
        names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc")
        names += ("volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        options = {
            **dict(zip(names, self.ports, strict=True)),
            "dir": self.folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "volume.max": 5,
            "filer": "true",
            "s3": "true",
            "s3.config": self.folder / "identities.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.volumeSizeLimitMB": 64,
            "volume.preStopSeconds": 0,
        }
        with (self.folder / "log").open("ab") as log:
            command = [str(WEED), "server", *(f"-{key}={value}" for key, value in options.items())]
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.is_ready():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/status", timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def files(self) -> fsspec.AbstractFileSystem:
        options = {"endpoint_url": self.endpoint, "key": "lab", "secret": SECRET}
        return fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False, **options)
