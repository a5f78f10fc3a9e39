"""The polynomials of a layer's or an estimator's neurons, from its parameters."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from flax import nnx

from qnn_jax import layers
from qnn_jax.errors import InputError
from qnn_jax.inspect._forms import Dense, Diagonal, Factors, Form
from qnn_jax.ops._symmetric import packed_index

Neuron = tuple[Form, np.ndarray, float]
"""(Q, w [n], b): z = x^T Q x + w^T x + b."""


def neurons(source: Any) -> Iterator[Neuron]:
  """The polynomials of the neurons of a layer or estimator, one after the other, in float64."""
  for kind in type(source).__mro__:
    # A subclass with its own __call__ computes something else.
    if kind in _of_layer.registry and kind is not object:
      if type(source).__call__ is kind.__call__:
        return _of_layer(source)
      raise InputError(
        f"qnn_jax.inspect does not know what a {type(source).__name__} computes; pass a layer of this "
        "package, an nnx.Linear or an nnx.Conv"
      )
  return _of_estimator(source)


def _of_estimator(model) -> Iterator[Neuron]:
  """The neurons of an estimator, recognised by its class name: scikit-learn may not be installed."""
  if "QuadraticModel" not in {kind.__name__ for kind in type(model).__mro__}:
    raise InputError(
      "pass a layer of this package, an nnx.Linear, an nnx.Conv, or a fitted "
      "QuadraticLogisticRegression or QuadraticRegressor (of a Pipeline its last step, pipeline[-1]), "
      f"not {type(model).__name__}"
    )
  if not hasattr(model, "quadratic_"):
    raise InputError(f"this {type(model).__name__} is not fitted yet: call fit first")
  return zip(
    map(Dense, _wide(model.quadratic_)), _wide(model.linear_), map(float, model.intercept_)
  )


@functools.singledispatch
def _of_layer(layer: Any) -> Iterator[Neuron]:
  raise NotImplementedError


@_of_layer.register(nnx.Linear)
@_of_layer.register(nnx.Conv)
@_of_layer.register(layers.AffineLinear)
def _(layer):
  return _with_affine(layer, lambda k, w: Factors(np.zeros((len(w), 0)), np.zeros((0, 0))))


@_of_layer.register(layers.QuadraticLinear)
@_of_layer.register(layers.QuadraticConv)
def _(layer):
  q, shown = _numbers(layer, "q"), _shown(layer)
  pairs = lambda k: np.outer(shown[:, k], shown[:, k])
  return _with_affine(layer, lambda k, w: Dense(_wide(q[:, k])[packed_index(len(w))] * pairs(k)))


@_of_layer.register(layers.HeavyLinear)
@_of_layer.register(layers.HeavyConv)
def _(layer):
  heavy = _columns(layer, "heavy_kernel")
  return _with_affine(layer, lambda k, w: Diagonal(_wide(heavy[:, k])))


@_of_layer.register(layers.ReducedQuadraticLinear)
@_of_layer.register(layers.ReducedQuadraticConv)
def _(layer):
  u, c = _columns(layer, "u"), _numbers(layer, "c")
  half = np.array([[0, 0.5], [0.5, 0]])
  for k, (w, b) in enumerate(_affine(layer)):
    u_k, c_k = _wide(u[:, k]), float(c[k])
    yield Factors(np.stack([w, u_k], axis=1), half), c_k * w + b * u_k, b * c_k


@_of_layer.register(layers.LowRankQuadraticLinear)
@_of_layer.register(layers.LowRankQuadraticConv)
def _(layer):
  s = _numbers(layer, "s")
  v = _numbers(layer, "v").reshape(-1, *s.shape) * _shown(layer)[:, None]
  return _with_affine(layer, lambda k, w: Factors(_wide(v[:, :, k]), np.diag(_wide(s[:, k]))))


def _with_affine(layer, form: Callable[[int, np.ndarray], Form]) -> Iterator[Neuron]:
  """The neurons with Q = `form(k, w)`, and w and b from the kernel and the bias."""
  for k, (w, b) in enumerate(_affine(layer)):
    yield form(k, w), w, b


def _affine(layer) -> Iterator[tuple[np.ndarray, float]]:
  kernel = _columns(layer, "kernel")
  bias = np.zeros(kernel.shape[-1]) if layer.bias is None else _numbers(layer, "bias")
  for w, b in zip(kernel.T, bias):
    yield _wide(w), float(b)


def _columns(layer, name: str) -> np.ndarray:
  """A parameter of the kernel's shape as [n, m], with a convolution's mask applied."""
  value = _numbers(layer, name)
  return value.reshape(-1, value.shape[-1]) * _shown(layer)


def _shown(layer) -> np.ndarray:
  """A convolution's mask for every input and neuron, [n, m]; without a mask ones [1, m]."""
  mask = getattr(layer, "mask", None)
  return (
    np.ones((1, layer.out_features))
    if mask is None
    else np.asarray(mask).reshape(-1, layer.out_features)
  )


def _numbers(layer, name: str) -> np.ndarray:
  """A parameter's values. InputError unless they are real, finite, and of a single layer."""
  value = getattr(layer, name).get_raw_value()
  if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)):
    raise InputError(f"{name} has no values: inspect a layer outside jax.jit and nnx.eval_shape")
  value = np.asarray(value)
  if np.iscomplexobj(value):
    raise InputError(f"{name} is complex, but only a layer with real parameters has quadrics")
  axes = 2 if isinstance(layer, nnx.Linear) else 2 + len(layer.kernel_size)
  if name == "kernel" and value.ndim != axes:
    raise InputError(
      f"this is a stack of layers, with a kernel of the shape {value.shape}: inspect one of them, "
      "jax.tree.map(lambda leaf: leaf[0], layer)"
    )
  if not np.isfinite(value).all():
    raise InputError(f"{name} has a NaN or an infinity, so that there is no quadric")
  return value


def _wide(column: np.ndarray) -> np.ndarray:
  return np.asarray(column, np.float64)
