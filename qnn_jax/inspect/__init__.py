"""Looks inside quadratic layers: their matrices, eigenpairs, and the quadrics of their neurons, as arrays.

Every neuron of a quadratic layer computes z = x^T Q x + w^T x + b. The set z = 0 is its decision
boundary, and it is a quadric. The functions take a layer of any kind of this package, or a fitted
estimator of `qnn_jax.sklearn`, whose neurons are the rows of `quadratic_`. They return NumPy arrays in
float64, computed on the host. They are for analysis, not for training. They read the parameters; the
`dtype` and `precision` of the layer's computation do not matter. For a convolution x is a patch,
flattened as its kernel is, with n = k * ... * c inputs.
"""

from qnn_jax.inspect._kinds import CONICS, quadric_kind
from qnn_jax.inspect._look import (
  Eigenpairs,
  Quadric,
  eigenpairs,
  kinds,
  matrices,
  quadric,
  signatures,
)

__all__ = [
  "CONICS",
  "Eigenpairs",
  "Quadric",
  "eigenpairs",
  "kinds",
  "matrices",
  "quadric",
  "quadric_kind",
  "signatures",
]
