"""Losses per sample: logits [..., C] and targets [..., C] -> loss [...].

The caller takes the mean or the sum over a batch, as in optax. The losses take logits and apply the
activation themselves, so that a saturated sigmoid loses no precision.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from qnn_jax.errors import InputError


def sigmoid_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Cross-entropy of independent labels, (25), summed over the classes.

  -sum_p [y_p ln s(z_p) + (1 - y_p) ln(1 - s(z_p))], with s the logistic sigmoid.

  Args:
    logits: [..., C] total inputs z^L of the last layer.
    targets: [..., C] y in [0, 1].

  Returns:
    loss [...], in nats.

  Source: (25); backwards (50), delta^L = yhat - y.

  >>> round(sigmoid_cross_entropy(jnp.zeros(2), jnp.array([1.0, 0.0])).item(), 4)
  1.3863
  """
  logits, targets = _same_shape("sigmoid_cross_entropy", logits, targets)
  return _sigmoid_cross_entropy(logits, targets.astype(logits.dtype))


@jax.custom_vjp
def _sigmoid_cross_entropy(logits, targets):
  return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1)


def _sigmoid_cross_entropy_fwd(logits, targets):
  return _sigmoid_cross_entropy(logits, targets), (logits, targets)


def _sigmoid_cross_entropy_bwd(residuals, loss_bar):
  logits, targets = residuals
  delta = jax.nn.sigmoid(logits) - targets  # (50)
  # (25) is linear in y: ln((1 - yhat) / yhat) = -z is its derivative there.
  return loss_bar[..., None] * delta, loss_bar[..., None] * -logits


_sigmoid_cross_entropy.defvjp(_sigmoid_cross_entropy_fwd, _sigmoid_cross_entropy_bwd)


def half_squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
  """L = (yhat - y)^2 / 2, summed over the outputs: the backpropagation notes, 'Loss Fn'.

  Args:
    outputs: [..., C] the network's outputs yhat, after their activation.
    targets: [..., C] the wanted outputs y.

  Returns:
    loss [...], in squared units of the targets.

  >>> half_squared_error(jnp.array([3.0]), jnp.array([1.0])).item()
  2.0
  """
  return optax.l2_loss(*_same_shape("half_squared_error", outputs, targets)).sum(-1)


def softmax_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Cross-entropy of mutually exclusive classes; logits and targets [..., C] -> loss [...] in nats.

  The papers do not have it. It is for a network of your own that ends in a quadratic layer.

  >>> round(softmax_cross_entropy(jnp.zeros(2), jnp.array([1.0, 0.0])).item(), 4)
  0.6931
  """
  return optax.softmax_cross_entropy(*_same_shape("softmax_cross_entropy", logits, targets))


NAMES = ("softmax", "sigmoid")
"""The names that `get` knows."""


def get(name: str, *, label_smoothing: float = 0.0) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """A classification loss by its name: (logits [..., C], labels) -> loss [...] in nats, float32 at least.

  The labels are integers [...] from 0 to C - 1, or rows [..., C], one-hot for example. An integer outside
  that range becomes a row of zeros. Logits of 16 bits are converted to float32 before the loss.

  Args:
    name: "softmax" for `softmax_cross_entropy`; "sigmoid" for `sigmoid_cross_entropy`, as in the papers.
    label_smoothing: a, at least 0 and below 1. Labels y become (1 - a) y + a / C for softmax, and
      (1 - a) y + a / 2 for sigmoid, whose classes are independent of each other.

  Raises:
    InputError: the name is unknown, or the smoothing is out of range. The loss itself raises one for
      labels of a wrong shape.

  >>> loss = get("softmax")
  >>> [round(nats, 4) for nats in loss(jnp.zeros((2, 4), jnp.bfloat16), jnp.array([0, 3])).tolist()]
  [1.3863, 1.3863]
  """
  if name not in NAMES:
    raise InputError(f"unknown loss {name!r}; choose one of {', '.join(NAMES)}")
  if not 0 <= label_smoothing < 1:
    raise InputError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}")
  form = softmax_cross_entropy if name == "softmax" else sigmoid_cross_entropy

  def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    classes = logits.shape[-1]
    whole = jnp.issubdtype(labels.dtype, jnp.integer)
    if whole and labels.shape == logits.shape[:-1]:
      labels = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
    elif labels.shape != logits.shape:
      raise InputError(
        f"the loss {name} needs labels that are integers of the shape {logits.shape[:-1]} or rows of the "
        f"shape {logits.shape}, got {labels.dtype} of the shape {labels.shape}"
      )
    targets = labels.astype(logits.dtype)
    if label_smoothing:
      every = 1 / (classes if name == "softmax" else 2)
      targets = (1 - label_smoothing) * targets + label_smoothing * every
    return form(logits, targets)

  return loss


def _same_shape(loss, outputs, targets):
  """Both as arrays. InputError if their shapes differ: they would be broadcast without notice."""
  outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
  if outputs.shape != targets.shape:
    raise InputError(
      f"{loss}: targets must have the shape of the outputs, {outputs.shape}, got {targets.shape}"
    )
  return outputs, targets
