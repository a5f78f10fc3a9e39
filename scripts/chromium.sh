#!/usr/bin/env bash
# The browser of tests/site: installs Debian's chromium where there is none, which needs root.
set -euo pipefail

fail() { echo "error: $*" >&2; exit 1; }

if command -v chromium >/dev/null; then exit; fi
[ "$(id -u)" = 0 ] || fail "there is no chromium, and only root can install it: apt-get install chromium"
command -v apt-get >/dev/null || fail "there is no chromium and no apt-get; install chromium by hand"
apt-get update -qq || fail "apt-get update failed, so that chromium cannot be installed"
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null ||
  fail "apt-get could not install chromium"
