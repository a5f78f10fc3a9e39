"""The backpropagation notes' recursion in NumPy against the package, and the experiment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import backprop_notes as backprop_notes_config
from experiments import backprop_notes
from qnn_jax import losses
from qnn_jax.errors import InputError
from qnn_jax.reports.rows import read_rows

DEPTHS = {2: (3, 4, 2), 3: (2, 5, 4, 3), 4: (4, 3, 5, 2, 1), 5: (3, 4, 2, 5, 3, 2)}


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_layers_gradients_are_the_documents(depth):
  sizes = DEPTHS[depth]
  layers = backprop_notes.start(sizes, seed=depth)
  assert len(layers) == depth
  rng = np.random.default_rng(depth)
  x, y = rng.normal(size=(6, sizes[0])), rng.uniform(size=(6, sizes[-1]))
  with jax.enable_x64(True):
    params = backprop_notes.as_params(layers, jnp.float64)
    ours = jax.jit(jax.grad(backprop_notes.mean_loss))(params, x, y)
  document = backprop_notes.document_batch_gradients(layers, x, y)
  for (kernel, bias), (dw, db) in zip(ours, document, strict=True):
    np.testing.assert_allclose(np.asarray(kernel).T, dw, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(bias, db, rtol=1e-9, atol=1e-14)
    assert np.abs(dw).max() > 1e-6


def test_the_transcription_is_the_losss_derivative_by_differences():
  layers = backprop_notes.start((3, 4, 3, 2), seed=1)
  x, y = np.array([0.3, -0.7, 1.1]), np.array([0.2, 0.9])

  def loss(layers):
    a = x
    for weight, bias in layers:
      a = 1 / (1 + np.exp(-(weight @ a + bias)))
    return ((a - y) ** 2 / 2).sum()

  for layer, (dw, db) in enumerate(backprop_notes.document_gradients(layers, x, y)):
    for part, gradient in enumerate((dw, db)):
      for index in np.ndindex(gradient.shape):
        ends = []
        for sign in (1, -1):
          moved = [tuple(p.copy() for p in pair) for pair in layers]
          moved[layer][part][index] += sign * 1e-6
          ends.append(loss(moved))
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradient[index], rel=1e-5, abs=1e-9)


def test_the_loss_and_its_derivative_at_the_top():
  outputs, targets = jnp.array([[0.25, 0.5], [1.0, -1.0]]), jnp.array([[1.0, 0.0], [0.5, 2.0]])
  loss, pullback = jax.vjp(lambda out: losses.half_squared_error(out, targets), outputs)
  np.testing.assert_allclose(loss, (np.asarray(outputs - targets) ** 2 / 2).sum(1), rtol=1e-6)
  (derivative,) = pullback(jnp.ones(2))
  np.testing.assert_allclose(derivative, outputs - targets, rtol=1e-6)  # dL/dyhat = yhat - y


def test_smoke(tmp_path, capsys, monkeypatch):
  config = backprop_notes_config.get_config("smoke")
  backprop_notes.main(config, tmp_path)
  agreement = read_rows(tmp_path / "agreement.csv")
  assert [row["layer"] for row in agreement] == [1, 2, 3, 4] * 2
  assert all(row[key] < 1e-5 for row in agreement for key in ("difference_dW", "difference_db"))
  assert capsys.readouterr().out.count("| end |") == 4
  rows = read_rows(tmp_path / "results.csv")
  assert len(rows) == 50 and rows[-1]["loss"] < 0.6 * rows[0]["loss"]
  ours, document = zip(*((row["loss"], row["loss_document"]) for row in rows))
  np.testing.assert_allclose(ours, document, rtol=1e-4)
  assert (tmp_path / "backprop_notes.png").read_bytes().startswith(b"\x89PNG")
  monkeypatch.setattr(backprop_notes, "compute", None)  # A finished run is not computed again.
  backprop_notes.main(config, tmp_path)


def test_mistakes():
  with pytest.raises(InputError, match="no preset 'fast'"):
    backprop_notes_config.get_config("fast")
  with pytest.raises(InputError, match="sizes"):
    backprop_notes.start((3,), 0)
