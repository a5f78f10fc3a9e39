"""Quadratic layers at every depth: the smoke preset, its files, and what must show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs import deep_quadratic as deep_quadratic_config
from experiments import deep_quadratic
from qnn_jax import layers
from qnn_jax.errors import InputError
from qnn_jax.reports.rows import read_rows


def test_smoke_diverges_from_the_naive_start_and_not_from_the_stable_one(tmp_path, monkeypatch):
  config = deep_quadratic_config.get_config("smoke")
  deep_quadratic.main(config, tmp_path)
  rows = read_rows(tmp_path / "results.csv")
  for row in rows:
    assert (row["status"] == "diverged") == (row["variant"] == "naive")
    if row["variant"] == "naive":
      assert 0 < row["steps_until_diverged"] < 40
    else:
      assert row["last_loss"] < row["first_loss"]
  assert len(rows) == 4
  assert (tmp_path / "deep_quadratic.png").read_bytes().startswith(b"\x89PNG")
  monkeypatch.setattr(deep_quadratic, "compute", None)  # A finished run is not computed again.
  deep_quadratic.main(config, tmp_path)


def test_all_three_layers_are_quadratic_and_start_where_they_should():
  config = deep_quadratic_config.get_config()
  zero = deep_quadratic.make_network(config, "qnn", True, nnx.Rngs(0))
  drawn = deep_quadratic.make_network(config, "qnn", False, nnx.Rngs(0))
  assert [type(layer) for layer in zero.layers] == [layers.QuadraticLinear] * 3
  for one, other in zip(zero.layers, drawn.layers):
    assert not one.q[...].any()
    # (Q + Q^T) / 2: variance 1 on the diagonal, 1/2 off it, where most entries are.
    assert float(other.q[...].std()) == pytest.approx(0.5**0.5, rel=0.05)
    np.testing.assert_array_equal(one.kernel[...], other.kernel[...])


def test_a_quadratic_network_with_q_zero_is_the_plain_one():
  config = deep_quadratic_config.get_config()
  quadratic = deep_quadratic.make_network(config, "qnn", True, nnx.Rngs(3))
  plain = deep_quadratic.make_network(config, "ann", True, nnx.Rngs(3))
  for one, other in zip(plain.layers, quadratic.layers):
    one.kernel[...] = other.kernel[...]
  x = jax.random.uniform(jax.random.key(0), (5, 49))
  np.testing.assert_allclose(quadratic(x), plain(x), rtol=1e-5, atol=1e-6)


def test_pixels_are_averaged_where_they_are():
  image = np.zeros((28, 28), np.uint8)
  image[4:8, 12:16] = 255  # the block in row 1, column 3
  image[27, 27] = 16
  small = deep_quadratic.shrink(image.reshape(1, 784)).reshape(7, 7)
  assert small[1, 3] == 1 and small[6, 6] == pytest.approx(1 / 255)
  assert np.count_nonzero(small) == 2


def test_thinned_losses_stop_where_they_are_not_finite():
  line = deep_quadratic.thinned(np.array([4.0, 3.0, jnp.inf, jnp.nan, 1.0]))
  assert [value for _, value in line] == [4.0, 3.0]
  whole = deep_quadratic.thinned(np.full(500, 2.0))
  assert len(whole) < 70 and {value for _, value in whole} == {2.0}


@pytest.mark.parametrize(
  "change, message", [({"variants": ("naif",)}, "naif"), ({"train_size": 31}, "train_size")]
)
def test_mistakes(change, message, tmp_path):
  config = deep_quadratic_config.get_config("smoke")
  config.update(change)
  with pytest.raises(InputError, match=message):
    deep_quadratic.check(config)
    deep_quadratic.main(config, tmp_path)
  with pytest.raises(InputError, match="no preset 'fast'"):
    deep_quadratic_config.get_config("fast")
