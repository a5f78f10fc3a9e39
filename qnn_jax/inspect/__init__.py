"""A look inside quadratic layers, as arrays: matrices, eigenpairs, and the quadrics they draw.

Every neuron of a quadratic layer computes z = x^T Q x + w^T x + b, and the set z = 0, its decision
boundary, is a quadric. The functions here take a layer of a model, of any kind of this package, or a
fitted estimator of `qnn_jax.sklearn`, whose neurons are the rows of `quadratic_`. They return NumPy arrays in float64, computed on the host: they are for looking, not for training. What they say
is about the parameters, whatever `dtype` and `precision` the layer computes in. Of a convolution, x
is a patch, flattened as its kernel is: its n is k * ... * c.
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
