"""Start command of TensorFlow Serving in a cluster: check the digest of the model, then start the server.

TensorFlow Serving verifies no digest, and an init container cannot do it either: KServe appends its storage initializer
to the pod's own init containers (`CommonStorageInitialization`), so these run before the model is downloaded. Therefore
the container itself hashes the downloaded files as `components.shared.signing.verify_folder` does, with tools that
every TensorFlow Serving image contains, and compares the result with an annotation of its pod.
"""

DIGEST_VARIABLE = "MODEL_DIGEST"
_SCRIPT = """\
set -eu
if [ -n "${MODEL_DIGEST:-}" ]; then
  cd /mnt/models/1
  find . ! -type d ! -path ./digests.json ! -path ./model.sig -printf '%P\\n' | LC_ALL=C sort |
    xargs -d '\\n' sha256sum | sha256sum | grep -q "^$MODEL_DIGEST " ||
    { echo "/mnt/models/1 differs from the model that the deploy step verified. Deploy it again." >&2; exit 1; }
  if find .. -mindepth 1 -maxdepth 1 -name '*[0-9]*' ! -name '*[A-Za-z]*' ! -name 1 | grep -q .; then
    echo "/mnt/models holds an unverified version beside version 1. Remove it from the artifact." >&2; exit 1
  fi
  cd /
fi
exec "$0" "$@"
"""
START_COMMAND = ("/bin/sh", "-c", _SCRIPT, "/usr/bin/tensorflow_model_server")
"""Command of the container; KServe's runtime appends the server's arguments. Without a digest, as for a model that was
set manually, the server starts at once. The script must contain neither `$(NAME)`, which Kubernetes replaces, nor two
opening braces, which KServe replaces."""
