"""TensorFlow Serving's command in a cluster: first the digest that the deploy step verified, then the server.

TensorFlow Serving verifies nothing, and no init container can do it either: KServe appends its storage initializer to
the pod's own init containers (`CommonStorageInitialization`), so that they all run before the model is there. So the
container itself hashes what was downloaded, as `components.shared.signing.verify_folder` does, with the tools that
every image of TensorFlow Serving holds. An annotation of its pod says what has to come out.
"""

DIGEST_VARIABLE = "MODEL_DIGEST"
_SCRIPT = """\
set -eu
if [ -n "${MODEL_DIGEST:-}" ]; then
  cd /mnt/models/1
  find . ! -type d ! -path ./digests.json ! -path ./model.sig -printf '%P\\n' | LC_ALL=C sort |
    xargs -d '\\n' sha256sum | sha256sum | grep -q "^$MODEL_DIGEST " ||
    { echo "/mnt/models/1 is not what the deploy step verified: it is not served" >&2; exit 1; }
  if find .. -mindepth 1 -maxdepth 1 -name '*[0-9]*' ! -name '*[A-Za-z]*' ! -name 1 | grep -q .; then
    echo "beside /mnt/models/1 lies another version, which nobody verified: none is served" >&2; exit 1
  fi
  cd /
fi
exec "$0" "$@"
"""
START_COMMAND = ("/bin/sh", "-c", _SCRIPT, "/usr/bin/tensorflow_model_server")
"""KServe's runtime adds the server's arguments. Without a digest, which only a model that was set by hand has, the
server starts at once. Kubernetes would replace `$(NAME)` and KServe two opening braces: neither is in it."""
