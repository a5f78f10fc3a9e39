"""Every case of four_devices*.py, in a process of its own: it must say how many devices there are."""

import os
import pathlib
import subprocess
import sys

CASES = sorted(map(str, pathlib.Path(__file__).parent.glob("four_devices*.py")))


def test_gradients_and_collectives_on_four_devices():
  assert len(CASES) == 4
  flags = "--xla_force_host_platform_device_count=4"
  command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *CASES]
  ended = subprocess.run(
    command,
    env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=1200,
  )
  assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2_000:]
  assert " passed" in ended.stdout and "skipped" not in ended.stdout
