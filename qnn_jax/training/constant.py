"""Keeps inputs that are the same in every training sample out of the products, without approximation.

A border pixel of MNIST is dark in every training image. With the shift its value is -1/2, so that it
has an influence. But the weights of all such inputs c_p change in the same way: sample t changes them
by -eta c_p delta_t and the bias by -eta delta_t. So the first layer's total input is that of the other
inputs, with the bias

    b' = b + sum_p c_p W_p,     which moves by -eta (1 + c.c) delta_t.

So the trainer trains b', with G_ts = x_t.x_s + 1 + c.c. In the end each weight is its start plus the
common change:

    W_p = W0_p + c_p (b' - b'_0) / (1 + c.c),     b = b' - sum_p c_p W_p.

Axis letters: S lanes, N samples, n inputs, k those that vary, h columns of the first layers.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.training.fleet import Fleet


class Constant(NamedTuple):
  """Which inputs are constant in training, and their values.

  Attributes:
    varies: [n] bool, True for an input that differs among the training samples.
    values: [n - k], the values of the other inputs, as the net gets them (pixels scaled and shifted).
  """

  varies: np.ndarray
  values: np.ndarray

  @property
  def weight(self) -> float:
    """1 + c.c: the merged bias changes by so many times the change of the bias."""
    return 1 + float(self.values @ self.values)

  def merge(self, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(the varying inputs' weights [S, k, h], b' [S, h]) of kernel [S, n, h] and bias [S, h]."""
    return kernel[:, self.varies], bias + self._share(kernel[:, ~self.varies])

  def separate(
    self, trained: jax.Array, merged: jax.Array, *, kernel: jax.Array, bias: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Kernel [S, n, h] and bias [S, h] after training.

    Args:
      trained: [S, k, h] and
      merged: [S, h], what the two of `merge` have become.
      kernel: [S, n - k, h] the constant inputs' weights at the start, and
      bias: [S, h] the bias there.
    """
    if self.varies.all():
      return trained, merged
    moved = (merged - bias - self._share(kernel)) / self.weight
    kernel = kernel + jnp.asarray(self.values, kernel.dtype)[:, None] * moved[:, None]
    # A gather of both, since scattering compiles slowly.
    place = np.argsort(np.concatenate([np.flatnonzero(self.varies), np.flatnonzero(~self.varies)]))
    return jnp.concatenate([trained, kernel], 1)[:, place], merged - self._share(kernel)

  def whole(self, x: jax.Array) -> jax.Array:
    """A sample [n] from its varying inputs [k]."""
    if self.varies.all():
      return x
    row = np.zeros(len(self.varies))
    row[~self.varies] = self.values
    return jnp.asarray(row, x.dtype).at[np.flatnonzero(self.varies)].set(x)

  def _share(self, kernel):
    return jnp.tensordot(kernel, jnp.asarray(self.values, kernel.dtype), ((1,), (0,)))


def none(inputs: int) -> Constant:
  """For so many inputs that all vary."""
  return Constant(np.ones(inputs, bool), np.zeros(0))


def constant_inputs(fleet: Fleet, samples: np.ndarray) -> Constant:
  """Finds the inputs that are the same in all training samples [N, n], as the fleet's nets get them."""
  samples = np.asarray(samples)
  varies = (samples != samples[:1]).any(0)
  with jax.enable_x64(True):
    exact = dataclasses.replace(fleet, dtype="float64")
    values = np.asarray(exact.as_inputs(jnp.asarray(samples[0, ~varies])))
  return Constant(varies, values)
