#!/usr/bin/env bash
# One job on all chips of a TPU pod slice: one process per host, connected by jax.distributed.
#   scripts/cluster/tpu_pod.sh create    # creates the slice
#   scripts/cluster/tpu_pod.sh setup     # installs the project and mounts the shared folder on every host
#   scripts/cluster/tpu_pod.sh run       # runs the sweep; after a stop: run; after a preemption: delete, create, setup, run
#   scripts/cluster/tpu_pod.sh list      # prints the state of every group
#   scripts/cluster/tpu_pod.sh report    # makes table and figure from the finished runs
#   scripts/cluster/tpu_pod.sh delete    # deletes the slice; the files in the bucket stay
# Further arguments of run, list and report go to the experiment: tpu_pod.sh run --config.seeds=100
set -euo pipefail
cd "$(dirname "$0")/../.."

TPU="${TPU:-qnn}"
ZONE="${ZONE:-us-west4-a}"                   # change: where you have quota
TYPE="${TYPE:-v5litepod-16}"                 # change: which slice; this one has 16 chips on 4 hosts
VERSION="${VERSION:-v2-alpha-tpuv5-lite}"    # change: the software version for this type
BUCKET="${BUCKET:-qnn-results}"              # change: your bucket, in the same region
EXPERIMENT="${EXPERIMENT:-table4}"
CONFIG="${CONFIG:-configs/$EXPERIMENT.py}"

# How a host mounts the shared folder, ~/results. File names are not cached, so that each host sees what another has
# just written.
# change: with Filestore or another NFS, MOUNT='sudo mount -t nfs SERVER:/SHARE results'
MOUNT="${MOUNT:-gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 $BUCKET results}"

on_hosts() { # WHICH COMMAND: WHICH is all, or a host's number
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker="$1" --command="$2"
}

experiment() { # WHICH PLATFORM ARGUMENT...: runs the command of the experiment on these hosts
  local which="$1" platform="$2" arguments
  shift 2
  printf -v arguments ' %q' "--config=$CONFIG" "--workdir=../results/$EXPERIMENT" "$@"
  # With `exec`, a signal reaches the command.
  on_hosts "$which" \
    "cd qnn_jax && JAX_PLATFORMS=$platform exec .venv/bin/python -m experiments.$EXPERIMENT$arguments"
}

action="${1:-}"
shift || true
case "$action" in
  create)
    gcloud compute tpus tpu-vm create "$TPU" --zone="$ZONE" --accelerator-type="$TYPE" --version="$VERSION" --spot
    ;;
  setup)
    archive=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$archive"' EXIT
    tar --create --gzip --file="$archive" --exclude='__pycache__' \
      LICENSE README.md configs constraints.txt data experiments pyproject.toml qnn_jax
    gcloud compute tpus tpu-vm scp "$archive" "$TPU:qnn_jax.tar.gz" --zone="$ZONE" --worker=all
    # The hosts' Python may be older than 3.11, the oldest supported version.
    on_hosts all "set -eu
      mkdir -p qnn_jax results
      tar --extract --gzip --file=qnn_jax.tar.gz --directory=qnn_jax
      mountpoint --quiet results || $MOUNT
      cd qnn_jax
      PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
      python3 -m uv venv --quiet --clear --python=3.12 .venv
      python3 -m uv pip install --quiet --python=.venv --constraint=constraints.txt --editable='.[experiments,tpu]'"
    ;;
  run) experiment all "${PLATFORM:-tpu}" --distributed "$@" ;;
  # On the host's CPU, because one host alone would wait for the chips of the others.
  list) experiment 0 cpu --list "$@" ;;
  report) experiment 0 cpu --report_only "$@" ;;
  delete) gcloud compute tpus tpu-vm delete "$TPU" --zone="$ZONE" --quiet ;;
  *)
    echo "error: say create, setup, run, list, report or delete; the head of $0 tells what each does" >&2
    exit 1
    ;;
esac
