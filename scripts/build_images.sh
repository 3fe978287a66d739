#!/usr/bin/env bash
# Build the images named as arguments, of the stages of manifests/images/Dockerfile with the same names.
# Environment: ENGINE (command of docker, podman or buildah), REGISTRY and TAG of the images, BUILD_OPTIONS of the
# engine, CA (file with certificates in PEM that the build trusts, where a proxy re-signs TLS; no image contains it).
set -euo pipefail
folder=manifests/images
certificates="$folder/ca/build.pem"
if [[ -z "${ENGINE:-}" ]]; then
  echo "No container engine found: install docker, podman or buildah, or set ENGINE=path" >&2
  exit 2
fi
rm -f "$certificates"
if [[ -n "${CA:-}" ]]; then
  if ! grep -q -e '-----BEGIN CERTIFICATE-----' -- "$CA" 2>/dev/null; then
    echo "CA=$CA is not a readable file of certificates in PEM: expected lines -----BEGIN CERTIFICATE-----;" \
      "convert a DER file with: openssl x509 -inform der -in $CA -out ca.pem" >&2
    exit 2
  fi
  trap 'rm -f "$certificates"' EXIT
  cp -- "$CA" "$certificates"
fi
for image in "$@"; do
  echo "[images] $image"
  # ENGINE and BUILD_OPTIONS may hold several words.
  # shellcheck disable=SC2086
  $ENGINE build ${BUILD_OPTIONS:-} --file "$folder/Dockerfile" --target "$image" \
    --build-arg REGISTRY="${REGISTRY:-}" --build-arg TAG="${TAG:-}" \
    --tag "${REGISTRY:+${REGISTRY%/}/}taxonflow/$image:$TAG" .
done
