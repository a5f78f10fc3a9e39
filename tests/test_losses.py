"""The losses against their formulas, and (50) against autodiff of (25)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import InputError, losses

pytestmark = pytest.mark.fast


@pytest.fixture
def x64():
  with jax.enable_x64(True):
    yield


def sigmoid(z):
  return 1 / (1 + jnp.exp(-z))


def naive(z, y):
  """(25) as it stands, exact while the sigmoid does not saturate."""
  return -jnp.sum(y * jnp.log(sigmoid(z)) + (1 - y) * jnp.log(1 - sigmoid(z)), -1)


def arguments(batch=(4,)):
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=(*batch, 3))), jnp.asarray(rng.uniform(size=(*batch, 3)))


def test_sigmoid_cross_entropy_is_25_and_its_gradient_50(x64):
  z, y = arguments()
  np.testing.assert_allclose(losses.sigmoid_cross_entropy(z, y), naive(z, y), rtol=1e-12)
  weights = jnp.arange(1.0, 5)  # a different cotangent for every sample
  ours, autodiff = (
    jax.jit(jax.grad(lambda z, y, loss=loss: weights @ loss(z, y), (0, 1)))(z, y)
    for loss in (losses.sigmoid_cross_entropy, naive)
  )
  np.testing.assert_allclose(ours[0], weights[:, None] * (sigmoid(z) - y), rtol=1e-12)
  np.testing.assert_allclose(ours[0], autodiff[0], rtol=1e-10)
  np.testing.assert_allclose(ours[1], autodiff[1], rtol=1e-10)


def test_the_other_losses_are_their_formulas(x64):
  z, y = arguments()
  np.testing.assert_allclose(losses.half_squared_error(z, y), ((z - y) ** 2 / 2).sum(-1))
  dz = jax.grad(lambda z: losses.half_squared_error(z, y).sum())(z)
  np.testing.assert_allclose(dz, z - y, rtol=1e-12)  # dL/dyhat of the second document
  log_p = z - jnp.log(jnp.exp(z).sum(-1, keepdims=True))
  np.testing.assert_allclose(losses.softmax_cross_entropy(z, y), -(y * log_p).sum(-1), rtol=1e-12)


def test_extreme_logits_stay_finite_and_exact():
  z = jnp.array([1e4, -1e4, 1e30, -1e30])
  wrong = jnp.array([0.0, 1, 0, 1])
  loss, gradient = jax.vmap(jax.value_and_grad(losses.sigmoid_cross_entropy))(
    z[:, None], wrong[:, None]
  )
  np.testing.assert_array_equal(loss, jnp.abs(z))
  np.testing.assert_array_equal(gradient[:, 0], 1 - 2 * wrong)
  assert losses.sigmoid_cross_entropy(z, 1 - wrong) == 0


@pytest.mark.parametrize(
  "loss", [losses.sigmoid_cross_entropy, losses.half_squared_error, losses.softmax_cross_entropy]
)
def test_batches_dtypes_and_shapes_of_every_loss(loss):
  for batch in ((), (2, 3), (0,)):
    z, y = arguments(batch)
    assert loss(z, y).shape == batch
  z, y = arguments()
  np.testing.assert_allclose(jax.jit(jax.vmap(loss))(z, y), loss(z, y), rtol=1e-6)
  np.testing.assert_allclose(loss(np.asarray(z, np.float64), y), loss(z, y), rtol=1e-6)
  labels = jnp.array([1, 0, 0])
  assert loss(jnp.zeros(3), labels) == loss(jnp.zeros(3), labels.astype(float))
  assert loss(z.astype(jnp.bfloat16), y.astype(jnp.bfloat16)).dtype == jnp.bfloat16
  # Nine labels beside three classes would be broadcast to a number that means nothing.
  with pytest.raises(
    InputError, match=rf"^{loss.__name__}: targets must have the shape of the outputs, \(4, 3"
  ):
    loss(z, jnp.zeros(3))


@pytest.mark.parametrize("name", losses.NAMES)
def test_a_loss_by_name_on_labels_and_on_rows(name):
  z, _ = arguments()
  labels = jnp.array([0, 2, 1, 2])
  loss, form = losses.get(name), getattr(losses, f"{name}_cross_entropy")
  rows = jnp.eye(3)[labels]
  for given in (labels, labels.astype(jnp.uint8), rows, rows.astype(jnp.int32)):
    np.testing.assert_array_equal(loss(z, given), form(z, rows))
  soft = jnp.array([[0.5, 0.3, 0.2]] * 4)
  np.testing.assert_array_equal(loss(z, soft), form(z, soft))


@pytest.mark.parametrize("name", losses.NAMES)
def test_smoothing_mixes_the_labels_with_chance(name):
  z, labels = arguments()[0], jnp.array([0, 2, 1, 2])
  found = losses.get(name, label_smoothing=0.3)(z, labels)
  chance, y = (1 / 3 if name == "softmax" else 1 / 2), jnp.eye(3)[labels]
  probabilities = jax.nn.softmax(z) if name == "softmax" else sigmoid(z)
  mixed = 0.7 * y + 0.3 * chance
  wanted = -(mixed * jnp.log(probabilities)).sum(-1)
  if name == "sigmoid":
    wanted -= ((1 - mixed) * jnp.log(1 - probabilities)).sum(-1)
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("name", losses.NAMES)
def test_logits_of_16_bits_become_float32_before_the_loss(name):
  z, labels = arguments()[0].astype(jnp.bfloat16), jnp.array([0, 2, 1, 2])
  found = losses.get(name)(z, labels)
  assert found.dtype == jnp.float32
  np.testing.assert_array_equal(found, losses.get(name)(z.astype(jnp.float32), labels))


def test_what_no_loss_by_name_takes():
  with pytest.raises(InputError, match="^unknown loss 'hinge'; choose one of softmax, sigmoid$"):
    losses.get("hinge")
  with pytest.raises(InputError, match="^label_smoothing must be at least 0 and below 1, got 1.0$"):
    losses.get("softmax", label_smoothing=1.0)
  told = r"^the loss softmax needs labels that are integers of the shape \(4,\) or rows of the shape \(4, 3\), got "
  for labels in (jnp.zeros(4), jnp.zeros((4, 2)), jnp.zeros(3, int)):
    with pytest.raises(InputError, match=told):
      losses.get("softmax")(arguments()[0], labels)
