"""Small trainings, for the tests of experiments.train."""

import json
import os
import subprocess
import sys

import numpy as np
from command_line import ROOT
from in_process import run

from configs.train import get_config
from experiments.train.__main__ import EXPERIMENT
from qnn_jax.sweeps.trained import load_model

# Seconds of a step's numbers, which differ from run to run.
_MEASURED = ("time", "images_per_second")


class Killed(BaseException):
  """No Exception, so that nothing on the way takes it for a failure."""


def small(**changes):
  """A quadratic MLP on 70 of the digits, 3 epochs of 4 steps."""
  config = get_config("smoke")
  config.network = "mlp"
  small_ones = {
    "dataset": "digits", "test_split": "test[:100]", "hidden": (4,), "head": "qnn",
    "train_size": 70, "batch_size": 16, "epochs": 3, "log_every": 3, "keep_params": True,
  }  # fmt: skip
  config.update(small_ones | changes)
  return config


def train(config, workdir, swept=None):
  """Runs it; returns the groups that ran."""
  return run(EXPERIMENT, config, workdir, swept)


def start(config, workdir, **env):
  """The command of this configuration, in a process with these variables besides."""
  path = workdir.with_suffix(".py")
  path.write_text(
    "import json\nfrom configs.train import get_config as base\n\n\ndef get_config():\n  config = base()\n"
    f"  config.update(json.loads({config.to_json()!r}))\n  return config\n"
  )
  return subprocess.Popen(
    [sys.executable, "-m", "experiments.train", f"--config={path}", f"--workdir={workdir}"],
    env={**os.environ, "PYTHONPATH": str(ROOT), **env}, cwd=ROOT, text=True,
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
  )  # fmt: skip


def metrics(workdir):
  """The lines of the only run's metrics.jsonl."""
  (path,) = (workdir / "training").glob("*/metrics.jsonl")
  return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def numbers(workdir):
  """`metrics` without times."""
  lines = metrics(workdir)
  return [{k: v for k, v in line.items() if k not in _MEASURED} for line in lines]


def parameters(workdir, **point):
  """Every parameter and statistic of a kept network, by its path."""
  from flax import nnx

  state = nnx.to_flat_state(nnx.state(load_model(workdir, **point), nnx.Not(nnx.RngState)))
  return {path: np.asarray(leaf[...]) for path, leaf in state}
