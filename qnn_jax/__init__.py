"""Quadratic neurons for JAX and Flax, with the papers' closed-form backward passes."""

from qnn_jax import initializers, losses, ops
from qnn_jax.errors import InputError
from qnn_jax.layers import (
  AffineLinear,
  HeavyLinear,
  LowRankQuadraticLinear,
  QuadraticLinear,
  ReducedQuadraticLinear,
)
from qnn_jax.models import Classifier

__all__ = [
  "AffineLinear",
  "Classifier",
  "HeavyLinear",
  "InputError",
  "LowRankQuadraticLinear",
  "QuadraticLinear",
  "ReducedQuadraticLinear",
  "initializers",
  "losses",
  "ops",
]
