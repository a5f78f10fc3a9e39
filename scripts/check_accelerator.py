"""All checks for an accelerator in one command: numbers and times of the kernels, Table 4, and times of the layers.

  python scripts/check_accelerator.py                      minutes on a GPU; needs the extras `experiments` and `cuda` or `tpu`
  python scripts/check_accelerator.py --small              on a CPU, with interpreted kernels, to see that it runs

Prints Markdown that begins with the device's name. Runs Table 4 twice by its own command, in fresh workdirs; the
second time its programs are already compiled. Compares its runs with the committed ones, which were made on a CPU. The
parts run in separate processes, one after another, because some devices serve only one process at a time. The exit
status is 1 if

- a part fails,
- a kernel differs from the plain scan by more than 1e-5, or gives NaN,
- on a GPU or TPU, a net of Table 4 that has a kernel does not use it,
- more than 5 % of Table 4's runs differ from the committed ones, or a run differs by more than 0.02 points (two test
  images).
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


# The forms that Table 4 uses by default on the device: if a kernel fails there, its nets use the fused form.
_FORMS = """
import jax, json
from configs.table4 import get_config
from qnn_jax.training import fleet, per_sample
config, platform = get_config(), jax.default_backend()
nets = tuple(fleet.Net(model, hidden) for model in config.models for hidden in config.hidden)
tails = per_sample.make_tails(fleet.Fleet(nets, 784, 10), per_sample.Method(), platform)
forms = ["fused form" if tail else "kernel" for tail in tails]
print(json.dumps([platform, [(f"{net.head}-{net.hidden}", form) for net, form in zip(nets, forms)]]))
"""
_APART, _SHARE = 0.0201, 5.0  # points, percent


def call(*args: str) -> str:
  """The stdout of a Python program; its stderr is passed on. CalledProcessError if it fails."""
  done = subprocess.run(
    [sys.executable, *args], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
  )
  return done.stdout


def forms() -> tuple[str, bool]:
  """The forms that Table 4's nets use by default here, in words, and whether that is as it should be."""
  platform, of_nets = json.loads(call("-c", _FORMS))
  taken: dict[str, list[str]] = {}
  for net, form in of_nets:
    taken.setdefault(form, []).append(net)
  told = "; ".join(f"the {form} for {', '.join(nets)}" for form, nets in taken.items())
  return told, platform == "cpu" or set(taken) == {"kernel"}


def table4(arguments: list[str]) -> tuple[str, bool]:
  """Runs the command twice: times and a comparison with the committed results in words, and whether they agree."""
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
  share = 100 * differ / len(ours)
  told = (
    f"{len(ours):,} runs in {seconds[0]:.0f} s, and in {seconds[1]:.0f} s with its programs compiled before; "
    f"{differ} runs ({share:.2f} %) differ from the committed ones, at most by {most:.2f} points"
  )
  return told, share <= _SHARE and most <= _APART


def main() -> int:
  """Runs all checks; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--small", action="store_true", help="tiny versions of all parts")
  parts = _SMALL if parser.parse_args().small else _WHOLE
  print(f"On {call('-c', _DEVICE).strip()}\n", flush=True)
  try:
    told = call("scripts/bench_tails.py", "--json", *parts["tails"])
    rows = [json.loads(line) for line in told.splitlines()]
    _bench.show(rows, bench_tails.HEADINGS, as_json=False)
    farthest = np.max([row["kernel_difference"] for row in rows])  # keeps a NaN
    print(
      f"\nKernels and plain scan: at most {farthest:.1e} apart after 600 samples.\n", flush=True
    )
    told, by_kernel = forms()
    print(f"By default Table 4 takes {told}.\n", flush=True)
    told, close = table4(parts["table4"])
    print(f"Table 4: {told}\n", flush=True)
    print(call("scripts/bench_layers.py", "--notorch", *parts["layers"]), flush=True)
  except subprocess.CalledProcessError as error:
    sys.exit(f"error: a part failed, with status {error.returncode}: {' '.join(error.cmd[1:])}")
  wrong = {
    "a kernel is more than 1e-5 from the plain scan": not farthest <= 1e-5,
    "not every net takes its kernel": not by_kernel,
    f"Table 4 is more than {_SHARE:g} % of the runs or {_APART:.2f} points from the committed results": not close,
  }
  for what in (what for what, is_so in wrong.items() if is_so):
    print(f"error: {what}", file=sys.stderr)
  return int(any(wrong.values()))


if __name__ == "__main__":
  sys.exit(main())
