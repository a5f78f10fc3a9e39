"""The public functions. Each goes through the neurons one by one, to compute no more than is asked for."""

import numbers
from typing import NamedTuple

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.inspect._kinds import TOLERANCE, bending, check_tolerance, kind_of
from qnn_jax.inspect._neurons import neurons


class Quadric(NamedTuple):
  """z_k = x^T q_k x + w_k^T x + b_k for every neuron k.

  Attributes:
    q: [m, n, n], symmetric.
    w: [m, n], the linear parts.
    b: [m], the constants.
  """

  q: np.ndarray
  w: np.ndarray
  b: np.ndarray


class Eigenpairs(NamedTuple):
  """Eigenvalues and eigenvectors of every neuron's Q, the largest magnitude first.

  Attributes:
    values: [m, k], the eigenvalues.
    vectors: [m, k, n], the eigenvectors, of length 1; the entry of largest magnitude is positive.
  """

  values: np.ndarray
  vectors: np.ndarray


def quadric(layer) -> Quadric:
  """The coefficients of the polynomials that the neurons compute.

  For a reduced layer, (w^T x + b)(u^T x + c), the result's q is (u w^T + w u^T) / 2, its w is c w + b u,
  and its b is b c. An `nnx.Linear` or `nnx.Conv` has q = 0. The result has m n^2 numbers: 8 GiB for
  1,024 neurons of 1,024 inputs. `eigenpairs` can do without these matrices.

  Args:
    layer: one of this package's layers, `nnx.Linear`, `nnx.Conv`, or a fitted
      estimator of `qnn_jax.sklearn`.

  Raises:
    InputError: the layer is anything else or a stack of layers, or its parameters are complex or
      abstract.

  >>> from flax import nnx
  >>> from qnn_jax import QuadraticLinear
  >>> layer = QuadraticLinear(2, 1, q_init=jax.nn.initializers.ones, rngs=nnx.Rngs(0))
  >>> quadric(layer).q.tolist()
  [[[1.0, 1.0], [1.0, 1.0]]]
  """
  found = [(form.matrix(), w, b) for form, w, b in neurons(layer)]
  return Quadric(*(np.stack(part) for part in zip(*found)))


def matrices(layer) -> np.ndarray:
  """Q of every neuron of a `layer`, [m, n, n], symmetric to the last bit; see `quadric`."""
  return np.stack([form.matrix() for form, _, _ in neurons(layer)])


def eigenpairs(layer, k: int | None = None) -> Eigenpairs:
  """The k leading eigenpairs of every neuron's Q, by magnitude.

  For a low-rank, reduced or Heavy layer no n x n matrix is made, unless k asks for more pairs than can
  have nonzero eigenvalues.

  Args:
    layer: as for `quadric`.
    k: a number from 1 to n. None stands for all pairs whose eigenvalues can be nonzero: n for a full Q
      and for a Heavy layer, the rank for a low-rank layer, 2 for a reduced and 0 for a linear one.

  Raises:
    InputError: as for `quadric`, or k is out of range.

  >>> from flax import nnx
  >>> from qnn_jax import HeavyLinear
  >>> start = lambda key, shape, dtype: jnp.array([[1.0], [-3.0]])
  >>> values, vectors = eigenpairs(HeavyLinear(2, 1, heavy_init=start, rngs=nnx.Rngs(0)))
  >>> values.tolist(), vectors.tolist()
  ([[-3.0, 1.0]], [[[0.0, 1.0], [1.0, 0.0]]])
  """
  found = []
  for form, w, _ in neurons(layer):
    whole = isinstance(k, numbers.Integral) and not isinstance(k, bool)
    if k is not None and not (whole and 1 <= k <= len(w)):
      raise InputError(f"k must be a whole number from 1 to the {len(w)} inputs, got {k!r}")
    found.append(form.eigenpairs(k))
  return Eigenpairs(*(np.stack(part) for part in zip(*found)))


def signatures(layer, tolerance: float = TOLERANCE) -> np.ndarray:
  """The numbers of positive, negative and zero eigenvalues of every neuron's Q: int [m, 3].

  Args:
    layer: as for `quadric`.
    tolerance: an eigenvalue counts as zero if its magnitude is below the tolerance times the largest
      magnitude of its neuron.

  Raises:
    InputError: as for `quadric`, or the tolerance is not a finite number of at least 0.
  """
  check_tolerance(tolerance)
  counts = []
  for form, w, _ in neurons(layer):
    values = form.axes(w).values
    values = values[bending(values, tolerance)]
    counts.append([(values > 0).sum(), (values < 0).sum(), len(w) - len(values)])
  return np.array(counts, int)


def kinds(layer, tolerance: float = TOLERANCE) -> np.ndarray:
  """The kind of quadric of every neuron's decision boundary z = 0: names [m], see `quadric_kind`.

  A trained full Q has no eigenvalue that is exactly zero. With a tolerance of 0.01, for example, the set
  counts as straight in directions where it is curved less than a hundredth of the largest curvature.

  Args:
    layer: as for `quadric`.
    tolerance: as for `quadric_kind`.

  Raises:
    InputError: as for `quadric`, or the tolerance is not a finite number of at least 0.

  >>> from flax import nnx
  >>> from qnn_jax import ReducedQuadraticLinear
  >>> kinds(ReducedQuadraticLinear(3, 2, rngs=nnx.Rngs(0))).tolist()
  ['plane', 'plane']
  """
  check_tolerance(tolerance)
  return np.array([kind_of(form.axes(w), len(w), b, tolerance) for form, w, b in neurons(layer)])
