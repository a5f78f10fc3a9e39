"""The experiments on data of another shape than MNIST's: 8 x 8 pixels; and the paper beside MNIST alone."""

import importlib

import pytest
from in_process import files, read_csv, run

from experiments.deep_quadratic.data import small_data
from qnn_jax.sweeps.trained import load_model

CHANGES = {
  "table4": {"models": ("qnn",), "hidden": (3,), "train_sizes": (120,), "epochs": (1,), "seeds": 2},
  "recipe": {
    "models": ("ann",), "hidden": (3,), "train_sizes": (120,), "epochs": (1,), "recipes": ("found",),
  },
  "table5": {
    "models": ("ann",), "hidden": 3, "train_size": 120, "epochs": 1, "runs_at_once": (1,),
  },
  "low_rank": {"ranks": (1, 5), "hidden": 5, "train_size": 256, "seeds": 1},
  "deep_quadratic": {
    "variants": ("stable",), "hidden": (3,), "train_size": 128, "test_size": 360, "seeds": 1,
  },
}  # fmt: skip


def prepared(name):
  experiment = importlib.import_module(f"experiments.{name}.__main__").EXPERIMENT
  config = importlib.import_module(f"configs.{name}").get_config("smoke")
  config.update(CHANGES[name] | {"dataset": "digits", "keep_params": name != "table5"})
  return experiment, config


@pytest.mark.parametrize("name", CHANGES)
def test_digits(name, tmp_path):
  experiment, config = prepared(name)
  experiment.check_data(config)
  run(experiment, config, tmp_path)
  rows = read_csv(tmp_path / "results.csv")
  assert rows and all(0 <= float(row["accuracy"]) <= 100 for row in rows)
  made = files(tmp_path)
  assert f"{name}.md" in made
  if name == "table4":
    model = load_model(tmp_path, seed=0)
    assert model.layers[0].kernel.shape == (64, 3) and model.layers[-1].q.shape == (6, 10)
    text = made["table4.md"].decode()
    assert "# Table 4: test accuracy on DIGITS" in text and "nothing to compare" in text
  if name == "deep_quadratic":
    assert load_model(tmp_path, variant="stable", seed=0).layers[0].kernel.shape == (16, 3)
    assert small_data("digits", "", 128, 360).x.shape == (128, 16)
