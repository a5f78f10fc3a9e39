"""Trained nets: the one point that was meant is found, or a sentence says why not."""

import jax
import numpy as np
import pytest
from flax import nnx
from toy import AXES, point

from qnn_jax import models
from qnn_jax.errors import InputError
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.trained import load_model

NETWORK = {
  "in_features": 2, "hidden": (3, 4), "classes": 2, "head": "qnn", "hidden_kind": ("ann", "heavy"),
}  # fmt: skip


def net(seed):
  return models.Classifier(**NETWORK, rngs=nnx.Rngs(seed))


def row(seed, **fields):
  params = nnx.to_pure_dict(nnx.state(net(seed), nnx.Param))
  return Row(point(seed=seed, **fields), {"value": 1.0}, "ok", params, NETWORK)


def write(workdir, *rows):
  Store(workdir, "toy", AXES).write(rows, 1.0, keep_params=True)


def same(model, seed):
  x = jax.random.normal(jax.random.key(0), (5, 2))
  np.testing.assert_array_equal(model(x), net(seed)(x))


def test_the_point_that_was_meant(tmp_path):
  write(tmp_path, row(0), row(1), row(2))
  write(tmp_path, row(3, scale=2.0))
  same(load_model(tmp_path, seed=1), 1)
  same(load_model(str(tmp_path), model="a", seed=2, scale=0.5), 2)
  same(load_model(tmp_path, scale=2.0), 3)


@pytest.mark.parametrize("first", (0, 1))
def test_of_two_records_the_same_counts_whichever_was_written_first(tmp_path, first):
  other = row(1)._replace(point=point(seed=0), metrics={"value": 2.0})
  rows = [row(0), other]
  write(tmp_path, rows[first])
  write(tmp_path, rows[1 - first])
  counts = Store(tmp_path, "toy", AXES).read().found[point(seed=0)].metrics["value"]
  same(load_model(tmp_path, seed=0), 1 if counts == 2.0 else 0)


def test_a_layer_alone(tmp_path):
  layer = models.make_layer("qnn", 3, 1, rngs=nnx.Rngs(5))
  network = {"layer": "qnn", "in_features": 3, "out_features": 1, "dtype": "float32"}
  params = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
  write(tmp_path, Row(point(), {"value": 1.0}, "ok", params, network))
  x = np.ones((2, 3), np.float32)
  np.testing.assert_array_equal(load_model(tmp_path, seed=0)(x), layer(x))


@pytest.mark.parametrize(
  "of_point, told",
  [
    ({"seed": 9}, "keeps no point with seed = 9: none has these values"),
    ({"sed": 0}, "keeps no point with sed = 0: there is no field 'sed'"),
    ({"model": "a"}, "3 points in .* have model = 'a'; say which by scale, seed"),
    ({}, "3 points in .* have nothing said of it; say which by scale, seed"),
  ],
)
def test_no_point_or_several(tmp_path, of_point, told):
  write(tmp_path, row(0), row(1), row(0, scale=2.0))
  with pytest.raises(InputError, match=told):
    load_model(tmp_path, **of_point)


def test_nothing_kept(tmp_path):
  Store(tmp_path, "toy", AXES).write([row(0)], 1.0, keep_params=False)
  with pytest.raises(InputError, match="keeps no parameters; run the sweep with --config.keep_par"):
    load_model(tmp_path, seed=0)


def test_damaged_parameters(tmp_path):
  write(tmp_path, row(0))
  (path,) = (tmp_path / "params").iterdir()
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(
    InputError, match="is damaged .*; the same sweep, run again, trains its points again"
  ):
    load_model(tmp_path, seed=0)
