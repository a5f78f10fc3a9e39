"""The backpropagation notes' recursion in NumPy against the package, and the experiment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import read_csv, report, run

from configs import backprop_notes as backprop_notes_config
from experiments.backprop_notes import document, task
from experiments.backprop_notes.__main__ import EXPERIMENT
from qnn_jax import losses
from qnn_jax.errors import InputError

DEPTHS = {2: (3, 4, 2), 3: (2, 5, 4, 3), 4: (4, 3, 5, 2, 1), 5: (3, 4, 2, 5, 3, 2)}


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_layers_gradients_are_the_documents(depth):
  sizes = DEPTHS[depth]
  layers = task.start(sizes, seed=depth)
  assert len(layers) == depth
  rng = np.random.default_rng(depth)
  x, y = rng.normal(size=(6, sizes[0])), rng.uniform(size=(6, sizes[-1]))
  with jax.enable_x64(True):
    params = task.as_params(layers, jnp.float64)
    ours = jax.jit(jax.grad(task.mean_loss))(params, x, y)
  by_document = document.batch_gradients(layers, x, y)
  for (kernel, bias), (dw, db) in zip(ours, by_document, strict=True):
    np.testing.assert_allclose(np.asarray(kernel).T, dw, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(bias, db, rtol=1e-9, atol=1e-14)
    assert np.abs(dw).max() > 1e-6


def test_the_transcription_is_the_losss_derivative_by_differences():
  layers = task.start((3, 4, 3, 2), seed=1)
  x, y = np.array([0.3, -0.7, 1.1]), np.array([0.2, 0.9])

  def loss(layers):
    a = x
    for weight, bias in layers:
      a = 1 / (1 + np.exp(-(weight @ a + bias)))
    return ((a - y) ** 2 / 2).sum()

  for layer, (dw, db) in enumerate(document.gradients(layers, x, y)):
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


def test_smoke(tmp_path):
  config = backprop_notes_config.get_config("smoke")
  run(EXPERIMENT, config, tmp_path)
  agreement = read_csv(tmp_path / "backprop_notes.csv")
  assert [row["layer"] for row in agreement] == ["1", "2", "3", "4"] * 2
  differences = [float(row[k]) for row in agreement for k in ("difference_dW", "difference_db")]
  assert max(differences) < 1e-5
  assert report(EXPERIMENT, config, tmp_path).count("| end |") == 4
  text = (tmp_path / "results.csv").read_text()
  assert text.startswith("step,loss,loss_document\n0,")
  rows = read_csv(tmp_path / "results.csv")
  ours, by_document = ([float(row[k]) for row in rows] for k in ("loss", "loss_document"))
  assert len(ours) == 50 and ours[-1] < 0.6 * ours[0]
  np.testing.assert_allclose(ours, by_document, rtol=1e-4)
  assert (tmp_path / "backprop_notes.png").read_bytes().startswith(b"\x89PNG")


def test_several_seeds_are_told_apart_and_stretches_make_no_difference(tmp_path, monkeypatch):
  config = backprop_notes_config.get_config("smoke")
  config.update(sizes=(2, 3, 1), grid=3, epochs=9, seeds=2)
  monkeypatch.setattr(task, "_DOCUMENT_EPOCHS", 4)
  run(EXPERIMENT, config, tmp_path / "a")
  monkeypatch.setattr(task, "_STRETCH", 4)
  run(EXPERIMENT, config, tmp_path / "b")
  rows = read_csv(tmp_path / "a" / "results.csv")
  assert [(row["seed"], row["step"]) for row in rows] == [
    (s, str(i)) for s in "01" for i in range(9)
  ]
  assert [row["loss_document"] == "" for row in rows] == ([False] * 4 + [True] * 5) * 2
  assert rows[0]["loss"] != rows[9]["loss"]
  for name in ("results.csv", "backprop_notes.csv", "backprop_notes.md"):
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
  assert "Seed 1. Loss" in (tmp_path / "a" / "backprop_notes.md").read_text()


def test_a_descent_that_diverges_is_told_as_it_is():
  config = backprop_notes_config.get_config("smoke")
  config.update(sizes=(2, 3, 1), epochs=2)
  # As a record has what is not finite.
  row = {"seed": 0, "status": "diverged", "loss": [0.1, None], "loss_document": [0.1, 0.1]}
  row |= {f"{name}_{when}": [None, None] for name in task.AGREEMENT for when in ("start", "end")}
  found = EXPERIMENT.report(config, [row])
  assert "it diverged" in found.said and "| end | 2 | 1x3 | - | - | - |" in found.said
  found.figure()


def test_mistakes():
  with pytest.raises(InputError, match="no preset 'fast'"):
    backprop_notes_config.get_config("fast")
  with pytest.raises(InputError, match="sizes"):
    task.check_sizes((3,))
