"""The three forms of a neuron's Q: a full matrix, a few factors, and a diagonal."""

from typing import NamedTuple, Protocol

import numpy as np


class Axes(NamedTuple):
  """z in the coordinates of Q's eigenvectors.

  Attributes:
    values: [r] eigenvalues; all others are zero.
    along: [r] the components of w along their eigenvectors.
    rest: the length of the component of w that is orthogonal to these eigenvectors.
  """

  values: np.ndarray
  along: np.ndarray
  rest: float


class Form(Protocol):
  """A symmetric matrix Q [n, n]."""

  def matrix(self) -> np.ndarray:
    """Q [n, n], symmetric to the last bit."""

  def eigenpairs(self, k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The k eigenvalues of largest magnitude [k] and their eigenvectors [k, n].

    With k None: all that the form does not know to be zero.
    """

  def axes(self, w: np.ndarray) -> Axes:
    """The eigenvalues, and w [n] in the coordinates of the eigenvectors."""


class Dense(NamedTuple):
  """Q itself, [n, n]."""

  q: np.ndarray

  def matrix(self):
    return self.q

  def eigenpairs(self, k):
    values, vectors = np.linalg.eigh(self.q)
    return _leading(values, vectors, k)

  def axes(self, w):
    values, vectors = np.linalg.eigh(self.q)
    return Axes(values, w @ vectors, 0.0)


class Factors(NamedTuple):
  """Q = F C F^T with F [n, r] and a symmetric C [r, r]; no n x n matrix is made for its eigenpairs."""

  f: np.ndarray
  core: np.ndarray

  def matrix(self):
    q = self.f @ self.core @ self.f.T
    return (q + q.T) / 2

  def eigenpairs(self, k):
    missing = max(0, (k or 0) - min(self.f.shape))
    if missing:
      # Add columns that Q does not use: the basis vectors that they add are eigenvectors of zero.
      columns = np.random.default_rng(0).normal(size=(len(self.f), missing))
      more = Factors(np.hstack([self.f, columns]), np.pad(self.core, (0, missing)))
      return more.eigenpairs(k)
    basis, values, vectors = self._spectrum()
    return _leading(values, basis @ vectors, k)

  def axes(self, w):
    basis, values, vectors = self._spectrum()
    inside = w @ basis
    return Axes(values, inside @ vectors, float(np.linalg.norm(w - basis @ inside)))

  def _spectrum(self):
    # With F = U R, Q = U (R C R^T) U^T: its eigenvalues are those of a small matrix, and zeros.
    basis, r = np.linalg.qr(self.f)
    values, vectors = np.linalg.eigh(r @ self.core @ r.T)
    return basis, values, vectors


class Diagonal(NamedTuple):
  """Q = diag(d), d [n]."""

  d: np.ndarray

  def matrix(self):
    return np.diag(self.d)

  def eigenpairs(self, k):
    order = _by_magnitude(self.d)[:k]
    vectors = np.zeros((len(order), len(self.d)))
    vectors[np.arange(len(order)), order] = 1
    return self.d[order], vectors

  def axes(self, w):
    return Axes(self.d, w, 0.0)


def _leading(values, vectors, k):
  """The first k by magnitude. The sign of a vector is free: its largest entry is made positive."""
  order = _by_magnitude(values)[:k]
  vectors = vectors[:, order].T
  largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1) if k != 0 else 1.0
  return values[order], vectors * np.where(largest < 0, -1.0, 1.0)


def _by_magnitude(values):
  return np.argsort(-np.abs(values), kind="stable")
