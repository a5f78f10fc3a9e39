"""Losses per sample: logits [..., C] and targets [..., C] -> loss [...].

The mean or the sum over a batch is the caller's, as in optax. The activation that belongs to a loss
is part of it: these take logits, so that a sigmoid that saturates costs no accuracy.
"""

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
    outputs: [..., C] the network's outputs yhat, behind their activation.
    targets: [..., C].

  Returns:
    loss [...], in squared units of the targets.

  >>> half_squared_error(jnp.array([3.0]), jnp.array([1.0])).item()
  2.0
  """
  return optax.l2_loss(*_same_shape("half_squared_error", outputs, targets)).sum(-1)


def softmax_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Cross-entropy of mutually exclusive classes; logits and targets [..., C] -> loss [...] in nats.

  Not in the papers: for a quadratic final layer in a network of one's own.

  >>> round(softmax_cross_entropy(jnp.zeros(2), jnp.array([1.0, 0.0])).item(), 4)
  0.6931
  """
  return optax.softmax_cross_entropy(*_same_shape("softmax_cross_entropy", logits, targets))


def _same_shape(loss, outputs, targets):
  """Both as arrays; InputError for what would otherwise be broadcast, say labels for targets."""
  outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
  if outputs.shape != targets.shape:
    raise InputError(
      f"{loss}: targets have shape {targets.shape}, but {outputs.shape}, that of the outputs, "
      "is needed"
    )
  return outputs, targets
