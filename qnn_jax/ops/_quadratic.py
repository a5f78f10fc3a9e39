"""The quadratic neuron, z = b + (W + A Q) a: (24); backwards (28), (31), (37) and (47).

The same layer has two ways to store Q. `quadratic` stores the packed upper triangle: in
z = sum_i q_ii a_i^2 + 2 sum_{i<j} q_ij a_i a_j the shared q_ij stands for both halves of the
symmetric matrix. So its derivative is 2 a_i a_j, M(a) of (35), and autodiff gives (37) too.
`quadratic_full` stores the paper's block of full matrices. There (37) is the derivative along
symmetric matrices, with which the paper updates Q. Training follows the same trajectory with both.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.ops import _arguments, _form, _mesh, _products, _symmetric
from qnn_jax.ops._form import Plan
from qnn_jax.ops._products import How


def quadratic(
  x: jax.Array,
  q: jax.Array,
  kernel: jax.Array | None,
  bias: jax.Array | None,
  *,
  cache: bool = True,
  derivative: str = "closed_form",
  precision=None,
  preferred_element_type=None,
  out_sharding=None,
) -> jax.Array:
  """z_k = b_k + w_k^T a + a^T Q_k a, with every symmetric Q_k in packed storage.

  The form a^T Q a of float16 is computed in float32.

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}, with any leading axes, or none; they may be empty.
    q: [P, m], P = n(n+1)/2, upper triangles in `np.triu_indices` order.
    kernel: [n, m], the transpose of the paper's W^l, or None for a^T Q a alone.
    bias: [m], or None for none.
    cache: whether to keep V of (44) for the backward pass ('Cache for BP' in Algorithm 1): B n m
      numbers for a batch of B, 4 MB for 128 rows of 784 -> 10 in float32. With False the backward
      pass computes V again: value and gradient then take 10 to 40 % more time. Autodiff ignores it.
    derivative, precision, preferred_element_type, out_sharding: as in `affine`. Both derivatives
      give the same numbers.

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit, or for an unknown derivative.

  Source: (24). Backwards (28), (31), (37) and the bracket of (47).

  >>> x = jnp.array([2.0, 3.0])
  >>> q = jnp.array([[1.0], [0.5], [0.0]])  # a_1^2 + a_1 a_2
  >>> quadratic(x, q, jnp.zeros((2, 1)), jnp.zeros(1)).tolist()
  [10.0]
  """
  _arguments.check_derivative("quadratic", derivative)
  _arguments.check_given("quadratic", q=q)
  x, q, kernel, bias = _arguments.promote(x, q, kernel, bias)
  n, m = _arguments.sizes("quadratic", x, q=q, kernel=kernel, bias=bias)
  expected = {
    "q": (q, (_symmetric.packed_size(n), m)),
    "kernel": (kernel, (n, m)),
    "bias": (bias, (m,)),
  }
  _arguments.check_shapes("quadratic", x, expected)
  how = How(precision, preferred_element_type, out_sharding)
  x, q = placed(x, q, out_sharding)
  x, q, kernel, bias = _mesh.vary_alike(x, q, kernel, bias)
  # With several devices, each tile's product would be an exchange between them.
  alone = m > 0 and 0 not in x.shape and _mesh.on_one_device(x, q, kernel, bias)
  return by(Plan(how, alone and (large(n, m) or not cache), cache), derivative, x, q, kernel, bias)


def by(plan, derivative, *args):
  """The op on arguments whose shapes are checked, computed by a given plan."""
  if derivative == "autodiff":
    return forward(Plan(plan.how), *args)[0]
  return by_closed_form(plan, *args)


def large(n: int, m: int) -> bool:
  """Whether tiles are faster than the few large steps of the plain form: measured on a CPU."""
  return n >= 64 and n * m >= 2048


def quadratic_full(
  x: jax.Array,
  q: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  *,
  precision=None,
  preferred_element_type=None,
  out_sharding=None,
) -> jax.Array:
  """z_k = b_k + w_k^T a + a^T Q_k a, with every Q_k a full symmetric matrix: the paper's form.

  The gradient with respect to q is delta (x) M(a) of (37), with the matrix M of (33) to (35). It is the derivative when both halves of Q
  change together: off the diagonal it is twice what autodiff of the same expression gives. So this op
  has no derivative="autodiff"; for forward mode use `quadratic`, with q in packed storage (`pack`).

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}, with any leading axes, or none; they may be empty.
    q: [m, n, n], symmetric in the last two axes: (47) holds only for symmetric Q.
    kernel: [n, m], the transpose of the paper's W^l.
    bias: [m], or None for none.
    precision, preferred_element_type, out_sharding: as in `affine`.

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit, or if q is a concrete array (not traced) and some Q_k is
      not symmetric.

  Source: (24). Backwards (28), (31), (37) and the bracket of (47).

  >>> x = jnp.array([2.0, 3.0])
  >>> q = jnp.array([[[1.0, 0.5], [0.5, 0.0]]])
  >>> quadratic_full(x, q, jnp.zeros((2, 1)), jnp.zeros(1)).tolist()
  [10.0]
  """
  x, q, kernel, bias = _arguments.promote(x, q, kernel, bias)
  _arguments.check_given("quadratic_full", q=q, kernel=kernel)
  n, m = _arguments.sizes("quadratic_full", x, kernel=kernel, bias=bias)
  expected = {"q": (q, (m, n, n)), "kernel": (kernel, (n, m)), "bias": (bias, (m,))}
  _arguments.check_shapes("quadratic_full", x, expected)
  _check_symmetric(q)
  how = How(precision, preferred_element_type, out_sharding)
  x, q = placed(x, q, out_sharding, neurons=0)
  return _quadratic_full(how, *_mesh.vary_alike(x, q, kernel, bias))


def placed(x, q, out_sharding, neurons=-1):
  """x and q placed on a mesh so that one device computes a sample's a^T Q_k a: inputs are not sharded.

  If the user gives `out_sharding`, the batch and the neurons are moved there before the product.
  """
  if _mesh.sharding(x) is None and _mesh.sharding(q) is None:
    return _mesh.whole_rows(x), q
  batch, m = _mesh.spec_of(x)[:-1], _mesh.spec_of(q)[neurons]
  if out_sharding is not None:
    spec = tuple(getattr(out_sharding, "spec", out_sharding))
    spec += (None,) * (x.ndim - len(spec))
    batch, m = spec[:-1], spec[-1]
  places = [None] * q.ndim
  places[neurons] = m
  return _mesh.moved(x, *batch, None), _mesh.moved(q, *places)


def _check_symmetric(q):
  """Refuses a concrete Q that differs from its transpose by more than rounding."""
  if isinstance(q, jax.core.Tracer):
    return
  values = np.asarray(q).astype(np.float64)
  with np.errstate(invalid="ignore"):  # infinity less infinity
    gap = np.abs(values - values.swapaxes(1, 2))
    # An update computed in floating point may leave the halves a few roundings apart.
    tolerance = 8 * float(jnp.finfo(q.dtype).eps) * np.abs(values).max(initial=0)
  # NaN and infinity are never above the tolerance: they flow into z, as in any other op.
  if (gap > tolerance).any():
    k, i, j = np.unravel_index(gap.argmax(), gap.shape)
    raise InputError(
      f"quadratic_full: q must be symmetric, but q[{k}, {i}, {j}] = {values[k, i, j]:g} and "
      f"q[{k}, {j}, {i}] = {values[k, j, i]:g}; pass (q + q.swapaxes(1, 2)) / 2"
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def by_closed_form(plan, x, q, kernel, bias):
  return forward(plan, x, q, kernel, bias)[0]


def forward(plan, x, q, kernel, bias):
  form, cached = _form.forward(plan, *_products.wide(x, q))
  z = _products.plus_affine(form, x, kernel, bias, plan.how)  # (24)
  return z, (x, q, kernel, bias, cached)  # 'Cache for BP' in Algorithm 1


def backward(plan, residuals, delta):
  x, q, kernel, bias, cached = residuals
  wide_x, wide_q, wide_delta = _products.wide(x, q, delta)
  dx, dq = _form.backward(plan, wide_x, wide_delta, wide_q, cached)
  return _with_affine(plan.how, dx, dq, delta, x, q, kernel, bias)


by_closed_form.defvjp(forward, backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _quadratic_full(how, x, q, kernel, bias):
  return _quadratic_full_fwd(how, x, q, kernel, bias)[0]


def _quadratic_full_fwd(how, x, q, kernel, bias):
  form, v = _form.whole(how, *_products.wide(x, q))
  return _products.plus_affine(form, x, kernel, bias, how), (x, q, kernel, bias, v)


def _quadratic_full_bwd(how, residuals, delta):
  x, q, kernel, bias, v = residuals
  wide_x, wide_delta = _products.wide(x, delta)
  dx, dq = _form.whole_backward(how, wide_x, v, wide_delta, _mesh.spec_of(q)[0])
  # (37) is symmetric but its rounding is not: the halves of Q would drift apart in a long run.
  dq = (dq + dq.swapaxes(1, 2)) / 2
  return _with_affine(how, dx, dq, delta, x, q, kernel, bias)


_quadratic_full.defvjp(_quadratic_full_fwd, _quadratic_full_bwd)


def _with_affine(how, dx, dq, delta, x, q, kernel, bias):
  """The derivatives of every argument, those of x W + b added to those of the form."""
  dkernel = None
  if kernel is not None:
    dx = sum(_products.alike(dx, _products.to_inputs(delta, kernel, x, how)))  # (47): W^T delta
    dkernel = _products.to_kernel(x, delta, kernel, how)  # (31)
  dbias = _products.to_bias(delta, bias)  # (28)
  return dx.astype(x.dtype), dq.astype(q.dtype), dkernel, dbias


def quadratic_reference(x, q, kernel, bias):
  """(21) transcribed for one sample, with full symmetric Q.

  x [n], q [m, n, n], kernel [n, m], bias [m] -> z [m].
  """
  n, m = kernel.shape
  z = []
  for k in range(m):
    linear = sum(kernel[i, k] * x[i] for i in range(n))
    quadratic_form = sum(q[k, r, s] * x[r] * x[s] for r in range(n) for s in range(n))
    z.append(bias[k] + linear + quadratic_form)
  return jnp.stack(z)
