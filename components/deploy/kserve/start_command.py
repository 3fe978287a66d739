"""Start command of TensorFlow Serving in a cluster: check the digest of the model, then run the server until SIGTERM.

TensorFlow Serving verifies no digest, and an init container cannot do it either: KServe appends its storage initializer
to the pod's own init containers (`CommonStorageInitialization`), so these run before the model is downloaded. Therefore
the container itself hashes the downloaded files as `components.shared.signing.verify_folder` does, with tools that
every TensorFlow Serving image contains, and compares the result with an annotation of its pod.

The kernel gives process 1 of a container no signal that it does not handle, and TensorFlow Serving handles none. So the
shell stays process 1, forwards SIGTERM and SIGINT to the server as SIGTERM, and ends with the server's status.
"""

DIGEST_VARIABLE = "MODEL_DIGEST"
_SCRIPT = """\
set -eu
trap 'exit 143' TERM INT
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
signalled=
server=
trap 'signalled=yes; [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true' TERM INT
"$0" "$@" &
server=$!
[ -z "$signalled" ] || kill -TERM "$server" 2>/dev/null || true
status=127
while :; do
  signalled=
  ended=0
  wait "$server" || ended=$?
  [ "$ended" != 127 ] || break
  status=$ended
  [ -n "$signalled" ] || break
done
exit "$status"
"""
START_COMMAND = ("/bin/sh", "-c", _SCRIPT, "/usr/bin/tensorflow_model_server")
"""Command of the container; KServe's runtime appends the server's arguments. Without a digest, as for a model that was
set manually, the server starts at once. `wait` returns early with each signal, and 127 once the status was returned.
The script must contain neither `$(NAME)`, which Kubernetes replaces, nor two opening braces, which KServe replaces."""
