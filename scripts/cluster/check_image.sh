#!/usr/bin/env bash
# Builds the image and trains in it without Docker and without an image registry: the base image is made of Debian's
# packages. Needs root, and Debian's buildah and mmdebstrap; takes some minutes and 5 GB in /tmp.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$(mktemp --directory --tmpdir=/tmp)
base="$folder/base"
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah() { command buildah --root="$folder/storage" --runroot="$folder/run" "$@"; }
trap 'rm -rf "$folder"' EXIT

# A replacement for python:3.12-slim, with the Python of this Debian.
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mmdebstrap --quiet --variant=minbase --mode=root --include=python3,python3-pip,ca-certificates "$release" "$base"
ln --symbolic python3 "$base/usr/bin/python"
rm -f "$base"/usr/lib/python3*/EXTERNALLY-MANAGED
# How this machine reaches its package index.
cp --dereference /etc/ssl/certs/ca-certificates.crt "$base/etc/ssl/certs/ca-certificates.crt"
if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$base/etc/pip.conf"; fi
container=$(buildah from scratch)
buildah copy --quiet "$container" "$base" / > /dev/null
buildah commit --quiet "$container" localhost/base > /dev/null

buildah build --quiet --network=host --build-arg=BASE=localhost/base \
  --file=scripts/cluster/Dockerfile --tag=qnn_jax . > /dev/null
container=$(buildah from localhost/qnn_jax)

# Runs as a user id without a name or a home directory.
buildah run --user=12345 "$container" -- tini -s -- python -m experiments.table4 \
  --config=configs/table4.py:smoke --workdir=/tmp/results

# SIGTERM to the entry point must reach the command, which then prints its last line.
status=0
buildah run "$container" -- sh -c '
  tini -s -- python -m experiments.table4 --workdir=/results/table4 & sleep 20
  kill -TERM $!; wait $!' || status=$?
echo "after SIGTERM: exit status $status"
[ "$status" != 0 ]
