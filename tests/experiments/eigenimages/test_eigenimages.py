"""eigenimages: what its rows hold, by the network that is kept, and its files from its records alone."""

import json

import numpy as np
import pytest
from in_process import files, read_csv, report, run, store_of

from configs.eigenimages import get_config
from experiments.eigenimages.__main__ import EXPERIMENT
from qnn_jax.datasets import load_dataset
from qnn_jax.errors import InputError
from qnn_jax.ops import unpack
from qnn_jax.sweeps.trained import load_model


def small(**changes):
  config = get_config("smoke")
  config.update({"places": 3, "kept": (1, 4, 64), "keep_params": True} | changes)
  return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("eigenimages")
  run(EXPERIMENT, small(), workdir)
  return workdir


@pytest.fixture(scope="module")
def row(finished):
  (found,) = store_of(EXPERIMENT, finished).found.values()
  return json.loads(json.dumps(dict(found.metrics)))


def test_eigenvectors_are_those_of_the_network_that_is_kept(finished, row):
  q = np.asarray(unpack(load_model(finished).q[...]), np.float64)
  q = np.moveaxis(q, -1, 0) if q.shape[0] != 10 else q
  for k in range(10):
    values = np.linalg.eigvalsh(q[k])
    largest = values[np.argsort(-np.abs(values))][:3]
    np.testing.assert_allclose(row["values"][k], largest, rtol=1e-4)
    for value, vector in zip(row["values"][k], row["vectors"][k]):
      np.testing.assert_allclose(q[k] @ vector, value * np.array(vector), atol=2e-3)


def test_accuracies_are_those_of_the_leading_eigenvectors(finished, row):
  model, data = load_model(finished), load_dataset("digits")
  x = data.test_images.astype(np.float32) / 255
  q = np.asarray(unpack(model.q[...]), np.float64)
  q = np.moveaxis(q, -1, 0) if q.shape[0] != 10 else q
  affine = x @ np.asarray(model.kernel[...]) + np.asarray(model.bias[...])
  for count, accuracy in zip(row["kept"], row["accuracies"]):
    z = affine.astype(np.float64)
    for k in range(10):
      values, vectors = np.linalg.eigh(q[k])
      kept = np.argsort(-np.abs(values))[:count]
      z[:, k] += ((x @ vectors[:, kept]) ** 2) @ values[kept]
    assert accuracy == pytest.approx(100 * (z.argmax(1) == data.test_labels).mean(), abs=0.3)
  assert row["accuracies"][-1] == pytest.approx(row["accuracy"], abs=0.3)  # an image


def test_files(finished, row):
  made = files(finished)
  assert {"eigenimages.md", "eigenimages.csv", "eigenimages.png", "results.csv"} <= made.keys()
  rows = read_csv(finished / "results.csv")
  assert [list(each.values())[:2] for each in rows[:4]] == [
    ["0", "1"],
    ["0", "2"],
    ["0", "3"],
    ["1", "1"],
  ]
  assert len(rows) == 30 and float(rows[4]["eigenvalue"]) == pytest.approx(row["values"][1][1])
  report(EXPERIMENT, small(), finished)
  assert files(finished) == made


@pytest.mark.parametrize(
  "changes, told",
  [
    ({"places": 0}, "^places must be a whole number of at least 1, got 0"),
    ({"kept": (4, 4)}, "^kept must hold at least one value and each once"),
    ({"kept": (65,)}, "must be at most 64, the inputs of the last layer"),
    ({"train_size": 1438}, "^train_size is 1438, but the data set has 1437"),
  ],
)
def test_what_makes_no_sense_is_refused(changes, told):
  with pytest.raises(InputError, match=told):
    EXPERIMENT.check(small(**changes))
    EXPERIMENT.check_data(small(**changes))
