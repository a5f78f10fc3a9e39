"""The quadratic neuron of low rank, z = b + w^T a + sum_r s_r (v_r^T a)^2; not in the papers.

It is (24) with Q_k = V_k diag(s_k) V_k^T, where column r of V_k is v_rk: (L1). That substitution in the
papers' backward pass gives its backward pass. docs/equations.md derives it:

  (L1)  z_k = b_k + w_k^T a + sum_r s_rk t_rk^2,  t_rk = v_rk^T a     (24)
  (L2)  dz_k/ds_rk = t_rk^2                                           (37) along v_rk v_rk^T
  (L3)  dz_k/dv_rk = 2 s_rk t_rk a                                    (37) along s_rk d(v_rk v_rk^T)
  (L4)  dz_k/da = w_k + 2 sum_r s_rk t_rk v_rk                        the bracket of (47)
"""

import functools

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments, _mesh, _products
from qnn_jax.ops._products import How


def low_rank_quadratic(
  x: jax.Array,
  v: jax.Array,
  s: jax.Array,
  kernel: jax.Array | None,
  bias: jax.Array | None,
  *,
  derivative: str = "closed_form",
  precision=None,
  preferred_element_type=None,
  out_sharding=None,
) -> jax.Array:
  """z_k = b_k + w_k^T a + sum_r s_rk (v_rk^T a)^2: a Q_k of rank at most r, in n r + r numbers.

  Squares of float16 are computed in float32. The backward pass keeps v^T a in memory: B r m numbers
  for a batch of B.

  Args:
    x: [..., n] the previous layer's outputs a, with any leading axes, or none; they may be empty.
    v: [n, r, m]; the directions v_rk of neuron k are the columns of v[:, :, k].
    s: [r, m], the weight of each square, of either sign.
    kernel: [n, m], whose column k has the weights w_k, or None for the squares alone.
    bias: [m], or None for none.
    derivative, precision, preferred_element_type, out_sharding: as in `affine`.

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit, or for an unknown derivative.

  Source: (24) with Q_k = V_k diag(s_k) V_k^T. Backwards (28), (31) and, from (37) and the bracket of
  (47), (L2) to (L4) of docs/equations.md.

  >>> x, v, s = jnp.array([2.0, 3.0]), jnp.ones((2, 1, 1)), jnp.full((1, 1), -1.0)
  >>> low_rank_quadratic(x, v, s, jnp.zeros((2, 1)), jnp.zeros(1)).tolist()  # -(a_1 + a_2)^2
  [-25.0]
  """
  _arguments.check_derivative("low_rank_quadratic", derivative)
  _arguments.check_given("low_rank_quadratic", v=v, s=s)
  x, v, s, kernel, bias = _arguments.promote(x, v, s, kernel, bias)
  n, m = _arguments.sizes("low_rank_quadratic", x, v=v, s=s, kernel=kernel, bias=bias)
  rank = v.shape[1] if v.ndim == 3 else s.shape[0]
  expected = {
    "v": (v, (n, rank, m)),
    "s": (s, (rank, m)),
    "kernel": (kernel, (n, m)),
    "bias": (bias, (m,)),
  }
  _arguments.check_shapes("low_rank_quadratic", x, expected)
  how = How(precision, preferred_element_type, out_sharding)
  return by(how, derivative, x, v, s, kernel, bias)


def by(how, derivative, *args):
  """The op on arguments whose shapes are checked, with the product options `how`."""
  args = _mesh.vary_alike(*args)
  return _low_rank(how, *args) if derivative == "closed_form" else _forward(how, *args)[0]


def _forward(how, x, v, s, kernel, bias):
  """(z [..., m], t [..., r, m]), where t are the products v^T a."""
  wide_x, wide_v, wide_s = _products.wide(x, v, s)
  t = _inner(how.form(wide_x.dtype), wide_x, wide_v)
  wide_s, wide_t = _products.alike(_beside(t, wide_s), t)
  form = (wide_s * wide_t * wide_t).sum(-2)
  return _products.plus_affine(form, x, kernel, bias, how), t  # (L1)


def _inner(how, x, v):
  """x [..., n], v [n, r, m] -> v^T a [..., r, m], one product; sharded over batch and neurons as z will be."""
  place = how.out_sharding
  if place is not None and how.window is None:
    spec = tuple(getattr(place, "spec", place))
    spec += (None,) * (x.ndim - len(spec))
    place = _mesh.sharding_like(x, *spec[:-1], None, spec[-1])
  return _products.product(x, v, how._replace(out_sharding=place))


def _beside(t, s):
  """s [r, m] with as many axes as t [..., r, m], sharded as t's last axes, which `out_sharding` may have moved."""
  return jnp.expand_dims(_mesh.moved(s, *_mesh.spec_of(t)[-2:]), range(t.ndim - 2))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _low_rank(how, x, v, s, kernel, bias):
  return _forward(how, x, v, s, kernel, bias)[0]


def _low_rank_fwd(how, x, v, s, kernel, bias):
  z, t = _forward(how, x, v, s, kernel, bias)
  return z, (x, v, s, kernel, bias, t)


def _low_rank_bwd(how, residuals, delta):
  x, v, s, kernel, bias, t = residuals
  wide_x, wide_v, wide_s, wide_delta = _products.wide(x, v, s, delta)
  wide_s, wide_t, wide_delta = _products.alike(_beside(t, wide_s), t, wide_delta)
  slope = 2 * wide_s * (wide_delta[..., None, :] * wide_t)  # delta_k dz_k/dt_rk
  dx, dv = _through_the_products(how, wide_x, wide_v, slope)
  # As a matrix product: XLA on a CPU then keeps two arrays of t's size at once; with a sum, three.
  ds = jnp.einsum(  # (L2)
    "...m,...rm->rm",
    wide_delta,
    wide_t * wide_t,
    precision=how.precision,
    out_sharding=_mesh.sharding(s),
  )
  dkernel = None
  if kernel is not None:
    dx = sum(_products.alike(dx, _products.to_inputs(delta, kernel, x, how)))  # (47): W^T delta
    dkernel = _products.to_kernel(x, delta, kernel, how)  # (31)
  dbias = _products.to_bias(delta, bias)  # (28)
  return dx.astype(x.dtype), dv, ds.astype(s.dtype), dkernel, dbias


_low_rank.defvjp(_low_rank_fwd, _low_rank_bwd)


def _through_the_products(how, x, v, slope):
  """(dx, dv) through t [..., r, m], given `slope` = delta dz/dt: (L4) without W, and (L3)."""
  if how.window is None and _mesh.on_one_device(x, v):
    # Join [r, m] to one axis: for a sum over two axes XLA on a CPU copies v. A sharded axis cannot be joined.
    n, rank, m = v.shape
    slope, flat = slope.reshape(*slope.shape[:-2], rank * m), v.reshape(n, rank * m)
    dx = _products.to_inputs(slope, flat, x, how)
    return dx, _products.to_kernel(x, slope, flat, how).reshape(v.shape)
  return _products.to_inputs(slope, v, x, how), _products.to_kernel(x, slope, v, how)


def low_rank_quadratic_reference(x, v, s, kernel, bias):
  """(L1) transcribed for one sample.

  x [n], v [n, r, m], s [r, m], kernel [n, m], bias [m] -> z [m].
  """
  n, rank, m = v.shape
  z = []
  for k in range(m):
    linear = sum(kernel[i, k] * x[i] for i in range(n))
    products = [sum(v[i, r, k] * x[i] for i in range(n)) for r in range(rank)]
    z.append(bias[k] + linear + sum(s[r, k] * products[r] ** 2 for r in range(rank)))
  return jnp.stack(z)
