"""All that an accelerator must show, by one command: the kernels' numbers and time, Table 4, the layers' table.

  python scripts/check_accelerator.py                      minutes on a GPU; needs the extra `cuda` or `tpu`
  python scripts/check_accelerator.py --small              on a CPU, kernels interpreted: to see that it runs

Prints Markdown, the device's name first. Table 4 is run twice by its own command, in fresh workdirs; the second time
finds its programs compiled. Its runs are compared with the committed ones, which are a CPU's. Each part is a process of
its own, one after another, since some devices serve one process at a time. Exit status 1 if a part fails or a kernel
differs from the plain scan by more than 1e-5.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import _bench
import bench_tails
import numpy as np
from check_devices import COMMITTED, ROOT, compare, runs_of

_WHOLE = {
  "tails": ["--repeats=5"],
  "table4": ["--config=configs/table4.py"],
  "layers": ["--repeats=15", "--cases=256x784x10,4096x784x10,256x64x64,16384x64x64,512x1024x128"],
}
_SMALL = {
  "tails": ["--repeats=1", "--seeds=2", "--hidden=5", "--cases=fleet"],
  "table4": ["--config=configs/table4.py:smoke", "--config.tails=kernel", "--config.seeds=1"],
  "layers": ["--repeats=1", "--cases=4x30x10"],
}
_DEVICE = (
  "import jax; d = jax.devices(); "
  "print(f'{len(d)} x {d[0].device_kind} ({jax.default_backend()}), JAX {jax.__version__}')"
)


def call(*args: str) -> str:
  """What a Python program says; what it says beside is passed on. CalledProcessError if it fails."""
  done = subprocess.run(
    [sys.executable, *args], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
  )
  return done.stdout


def table4(arguments: list[str]) -> str:
  """Two runs of the command: seconds, and a comparison with the committed results."""
  with gzip.open(COMMITTED, "rt", encoding="utf-8") as file:
    committed = runs_of(file.read())
  seconds = []
  with tempfile.TemporaryDirectory() as folder:
    kept = f"--compilation_cache={folder}/programs"
    for turn in ("first", "second"):
      workdir, begin = pathlib.Path(folder) / turn, time.perf_counter()
      call("-m", "experiments.table4", *arguments, f"--workdir={workdir}", kept)
      seconds.append(time.perf_counter() - begin)
    ours = runs_of((workdir / "results.csv").read_text(encoding="utf-8"))
  differ, most = compare(ours, committed)
  return (
    f"{len(ours):,} runs in {seconds[0]:.0f} s, and in {seconds[1]:.0f} s with its programs compiled before; "
    f"{differ} runs ({100 * differ / len(ours):.2f} %) differ from the committed ones, at most by {most:.2f} points"
  )


def main() -> int:
  """Returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--small", action="store_true", help="everything tiny")
  parts = _SMALL if parser.parse_args().small else _WHOLE
  print(f"On {call('-c', _DEVICE).strip()}\n", flush=True)
  try:
    told = call("scripts/bench_tails.py", "--json", *parts["tails"])
    rows = [json.loads(line) for line in told.splitlines()]
    _bench.show(rows, bench_tails.HEADINGS, as_json=False)
    farthest = np.max([row["kernel_difference"] for row in rows])  # a NaN stays one
    print(
      f"\nKernels and plain scan: at most {farthest:.1e} apart after 600 samples.\n", flush=True
    )
    print(f"Table 4: {table4(parts['table4'])}\n", flush=True)
    print(call("scripts/bench_layers.py", "--notorch", *parts["layers"]), flush=True)
  except subprocess.CalledProcessError as error:
    sys.exit(f"error: a part failed, with status {error.returncode}: {' '.join(error.cmd[1:])}")
  return 0 if farthest <= 1e-5 else 1


if __name__ == "__main__":
  sys.exit(main())
