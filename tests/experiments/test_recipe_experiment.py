"""The search around Table 4's recipe: what each recipe changes, and the command."""

import csv
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs.recipe import RECIPES, get_config
from experiments import recipe as experiment
from qnn_jax import ops
from qnn_jax.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]
SEEDS = (0, 1)


def one(name, **values):
  config = get_config("smoke")
  config.update(values)
  config.recipes = (name,)
  return experiment.recipes(config)[0]


def test_every_recipe_is_one_and_the_first_is_table4s():
  config = get_config()
  found = experiment.recipes(config)
  assert [recipe.name for recipe in found] == list(RECIPES)
  from configs import table4

  theirs = table4.get_config()
  for name in ("input_shift", "init", "init_scale", "learning_rate"):
    assert getattr(found[0].fleet, name) == config[name] == theirs[name]
  former = table4.get_config("former")
  assert (found[1].fleet.input_shift, found[1].fleet.init) == (former.input_shift, former.init)


def test_orders():
  order = lambda name, epoch=0: experiment.orders(one(name), SEEDS, 30, 90, epoch)
  drawn = order("found")
  np.testing.assert_array_equal(order("found", 1), drawn)
  np.testing.assert_array_equal(order("order_sorted"), np.sort(drawn, 1))
  np.testing.assert_array_equal(order("order_first"), np.stack([np.arange(30)] * 2))
  epochs = [order("reshuffled", epoch) for epoch in (0, 1)]
  assert (epochs[0] != epochs[1]).any()
  for shuffled in epochs:
    np.testing.assert_array_equal(np.sort(shuffled, 1), np.sort(drawn, 1))


def quadratic(name):
  params, raw = experiment.starts(one(name, models=("qnn",)), SEEDS)
  return params[0]["layers"], raw[0]


def test_starts():
  layers, raw = quadratic("bias_zero")
  assert raw is None
  for layer in layers.values():
    assert not layer["bias"].any() and layer["kernel"].all()
  layers, raw = quadratic("q_zero")
  assert raw is None and not layers[1]["q"].any()
  n = layers[1]["kernel"].shape[1]
  mirrored, _ = quadratic("q_mirrored")
  off = ops.multiplicity(n) == 2
  spread = lambda q: q[:, off].std() / q[:, ~off].std()
  # A mean of two draws is narrower by the root of two; a mirrored half is not.
  assert spread(quadratic("found")[0][1]["q"]) == pytest.approx(0.5**0.5, rel=0.1)
  assert spread(mirrored[1]["q"]) == pytest.approx(1, rel=0.1)
  layers, raw = quadratic("q_raw")
  full = jax.vmap(ops.unpack)(layers[1]["q"]) + raw
  assert abs(full).max() < 0.01 and full.std() == pytest.approx(0.02 / 12**0.5, rel=0.05)
  np.testing.assert_allclose(raw, -raw.swapaxes(-1, -2))
  assert jax.vmap(ops.pack)(full).shape == mirrored[1]["q"].shape


@pytest.mark.parametrize(
  "values, message",
  (
    ({"recipes": ("cubic",)}, "unknown recipe 'cubic' in recipes; choose among bias_zero, former"),
    ({"seeds": 1}, "seeds must be at least 2, for a spread, got 1"),
    ({"order": "backwards"}, "order must be one of drawn, first, sorted, reshuffled, got 'backw"),
    ({"hidden": (0,)}, "hidden must be whole numbers of at least 1"),
    ({"init_scale": -1.0}, "init_scale must be a positive number"),
    ({"input_shift": float("nan")}, "input_shift must be a finite number"),
  ),
)
def test_bad_values(values, message):
  config = get_config("smoke")
  config.update(values)
  with pytest.raises(InputError, match=message):
    experiment.recipes(config)


def test_the_command_runs_and_resumes(tmp_path):
  command = [
    sys.executable, "-m", "experiments.recipe", "--config=configs/recipe.py:smoke",
    f"--workdir={tmp_path}/run", "--config.models=('qnn',)", "--config.hidden=(3,)",
    "--config.train_sizes=(60,)", "--config.epochs=(1,)",
  ]  # fmt: skip
  done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  rows = list(csv.DictReader((tmp_path / "run/results.csv").read_text().splitlines()))
  assert [(row["recipe"], row["seed"]) for row in rows] == [
    (name, seed) for name in get_config("smoke").recipes for seed in ("0", "1")
  ]
  accuracies = [row["accuracy"] for row in rows]
  for record in (tmp_path / "run/records").iterdir():
    stamp = record.stat().st_mtime_ns
    if record.stem == "found":
      record.unlink()
    else:
      assert stamp
  again = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
  assert again.returncode == 0, again.stderr
  rows = list(csv.DictReader((tmp_path / "run/results.csv").read_text().splitlines()))
  assert [row["accuracy"] for row in rows] == accuracies
