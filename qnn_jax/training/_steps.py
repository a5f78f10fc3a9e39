"""A head's step on one sample, for the kernels of _kernel.py: Algorithms 1 and 2 after the hidden layer.

A step is a function (params, a, last, eta) -> (the gradient with respect to a, params after the step), where
`last` computes the delta of the last layer from the outputs. The equations are those of `_fused`, for one sample.
The first axis is the classes, the next one the hidden neurons; more axes, such as the lanes, may follow:

    a [1, h], eta [1, 1], outputs [C, 1]
    matrices [C, h], vectors [C, 1], q [C, h, h] in full and symmetric

C may be a part of the classes: the gradient with respect to a is a sum over them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def _ann(params, a, last, eta):
  e = last(_rows(params["kernel"] * a) + params["bias"])
  return _columns(params["kernel"] * e), _moved(params, eta, kernel=e * a, bias=e)


def _qnn(params, a, last, eta):
  down, across = jnp.expand_dims(a, 2), jnp.expand_dims(a, 1)
  # Q is symmetric, so that either axis may be summed: the last one on a GPU, and the first if lanes are last.
  of_q = (down, 1) if a.ndim > 2 else (across, 2)
  v = (params["q"] * of_q[0]).sum(of_q[1])  # [C, h], V = A Q of (44)
  e = last(_rows(params["kernel"] * a) + params["bias"] + _rows(v * a))  # (24)
  back = _columns(params["kernel"] * e) + 2 * _columns(v * e)  # (47)
  h = a.shape[1]
  square = (1, h, h, *[1] * (a.ndim - 2))
  twice = 2 - (iota(square, 1) == iota(square, 2)).astype(a.dtype)
  q_step = twice * down * jnp.expand_dims(e * a, 1)  # (37), with M(a) of (35)
  return back, _moved(params, eta, kernel=e * a, bias=e, q=q_step)


def _rpqnn(params, a, last, eta):
  v1 = _rows(params["kernel"] * a) + params["bias"]
  v2 = _rows(params["u"] * a) + params["c"]
  e = last(v1 * v2)  # (52)
  e1, e2 = e * v2, e * v1  # (56) and (59), (57) and (60)
  back = _columns(params["kernel"] * e1) + _columns(params["u"] * e2)
  return back, _moved(params, eta, kernel=e1 * a, bias=e1, u=e2 * a, c=e2)


def _heavy(params, a, last, eta):
  square = a * a
  e = last(_rows(params["kernel"] * a) + _rows(params["heavy_kernel"] * square) + params["bias"])
  back = _columns(params["kernel"] * e) + 2 * a * _columns(params["heavy_kernel"] * e)
  return back, _moved(params, eta, kernel=e * a, bias=e, heavy_kernel=e * square)


STEPS: dict[str, Callable] = {"ann": _ann, "qnn": _qnn, "rpqnn": _rpqnn, "heavy": _heavy}
VECTORS = ("bias", "c")


def shapes(head: str, classes: int, hidden: int) -> dict[str, tuple[int, ...]]:
  """The shape of each of a head's parameters, as the steps take them."""
  matrix, vector = (classes, hidden), (classes, 1)
  more: dict[str, dict[str, tuple[int, ...]]] = {
    "qnn": {"q": (classes, hidden, hidden)},
    "rpqnn": {"u": matrix, "c": vector},
    "heavy": {"heavy_kernel": matrix},
  }
  return {"kernel": matrix, "bias": vector, **more.get(head, {})}


def activation(total, is_neuron):
  """The outputs of the hidden neurons; zero for padding."""
  a = jax.nn.sigmoid(total)
  return jnp.where(is_neuron, a, jnp.zeros_like(a))


def error(outputs, is_label):
  """The last layer's delta, of (50)."""
  return jax.nn.sigmoid(outputs) - is_label.astype(outputs.dtype)


def hidden_step(rate, back, a):
  """eta delta of the hidden layer, with g' of (41). The small factors come first, so that the product rarely overflows."""
  return rate * (back * a * (1 - a))


def iota(shape, axis):
  """The indices along an axis, in 32 bits, as kernels need them."""
  return jax.lax.broadcasted_iota(jnp.int32, shape, axis)


def loop(count, body, carry):
  """`fori_loop` from 0 with 32-bit indices, which TPU kernels need, even where JAX's own have 64 bits."""
  if not isinstance(count, int):
    return jax.lax.fori_loop(np.int32(0), count, body, carry)
  step = lambda carry, _: ((carry[0] + np.int32(1), body(*carry)), None)
  return jax.lax.scan(step, (np.int32(0), carry), None, length=count)[0][1]


def _moved(params, eta, **gradients):
  """Every parameter after its step, (7)."""
  axes = lambda g: tuple(range(2, 2 + g.ndim - eta.ndim))  # q has one more
  return {name: params[name] - jnp.expand_dims(eta, axes(g)) * g for name, g in gradients.items()}


def _rows(x):
  return x.sum(1, keepdims=True)


def _columns(x):
  return x.sum(0, keepdims=True)
