"""The public functions: each goes through the neurons one by one, so that no more is made than asked."""

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
    w: [m, n].
    b: [m].
  """

  q: np.ndarray
  w: np.ndarray
  b: np.ndarray


class Eigenpairs(NamedTuple):
  """Of every neuron's Q, by falling magnitude of the eigenvalues.

  Attributes:
    values: [m, k].
    vectors: [m, k, n], each of length 1, its largest entry positive.
  """

  values: np.ndarray
  vectors: np.ndarray


def quadric(layer) -> Quadric:
  """The polynomials that the neurons compute, written out.

  Of the reduced layer's (w^T x + b)(u^T x + c), q is (u w^T + w u^T) / 2, w is c w + b u and b is
  b c. An `nnx.Linear` or `nnx.Conv` has q = 0. The result has m n^2 numbers: of 1,024 neurons of
  1,024 inputs 8 GiB, where `eigenpairs` can do without.

  Args:
    layer: one of this package's layers, `nnx.Linear`, `nnx.Conv`, or a fitted
      estimator of `qnn_jax.sklearn`.

  Raises:
    InputError: anything else, a stack of layers, complex or abstract parameters.

  >>> from flax import nnx
  >>> from qnn_jax import QuadraticLinear
  >>> layer = QuadraticLinear(2, 1, q_init=jax.nn.initializers.ones, rngs=nnx.Rngs(0))
  >>> quadric(layer).q.tolist()
  [[[1.0, 1.0], [1.0, 1.0]]]
  """
  found = [(form.matrix(), w, b) for form, w, b in neurons(layer)]
  return Quadric(*(np.stack(part) for part in zip(*found)))


def matrices(layer) -> np.ndarray:
  """Q of every neuron, [m, n, n], symmetric to the last bit; see `quadric`."""
  return np.stack([form.matrix() for form, _, _ in neurons(layer)])


def eigenpairs(layer, k: int | None = None) -> Eigenpairs:
  """The k leading eigenpairs of every neuron's Q, by magnitude.

  Where Q is of low rank, reduced or diagonal, no n x n matrix is made, unless k asks for more pairs
  than may differ from zero.

  Args:
    layer: as for `quadric`.
    k: from 1 to n. None: all that may differ from zero, n of a full Q and of a Heavy layer, the rank
      of a low-rank one, 2 of a reduced one, none of a linear one.

  Raises:
    InputError: as `quadric`, or another k.

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
  """How many eigenvalues of every neuron's Q are positive, negative and zero: int [m, 3].

  Args:
    layer: as for `quadric`.
    tolerance: an eigenvalue counts as zero below it times the largest of its neuron.

  Raises:
    InputError: as `quadric`, or a tolerance that is no finite number of at least 0.
  """
  check_tolerance(tolerance)
  counts = []
  for form, w, _ in neurons(layer):
    values = form.axes(w).values
    values = values[bending(values, tolerance)]
    counts.append([(values > 0).sum(), (values < 0).sum(), len(w) - len(values)])
  return np.array(counts, int)


def kinds(layer, tolerance: float = TOLERANCE) -> np.ndarray:
  """What kind of quadric every neuron's decision boundary z = 0 is: words [m], of `quadric_kind`.

  A trained full Q has no eigenvalue that is exactly zero: with the tolerance 0.01, say, a direction
  counts as straight in which it bends a hundred times less than in the one where it bends most.

  Args:
    layer: as for `quadric`.
    tolerance: as for `quadric_kind`.

  Raises:
    InputError: as `quadric`, or a tolerance that is no finite number of at least 0.

  >>> from flax import nnx
  >>> from qnn_jax import ReducedQuadraticLinear
  >>> kinds(ReducedQuadraticLinear(3, 2, rngs=nnx.Rngs(0))).tolist()
  ['plane', 'plane']
  """
  check_tolerance(tolerance)
  return np.array([kind_of(form.axes(w), len(w), b, tolerance) for form, w, b in neurons(layer)])
