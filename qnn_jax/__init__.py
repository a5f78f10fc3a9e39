"""Quadratic neurons for JAX and Flax, with the papers' closed-form backward passes."""

from qnn_jax import initializers, inspect, losses, ops
from qnn_jax.errors import InputError
from qnn_jax.layers import (
  AffineLinear,
  HeavyConv,
  HeavyLinear,
  LowRankQuadraticConv,
  LowRankQuadraticLinear,
  QuadraticConv,
  QuadraticLinear,
  ReducedQuadraticConv,
  ReducedQuadraticLinear,
)
from qnn_jax.models import Classifier
from qnn_jax.surgery import replace

__version__ = "1.0.0"

__all__ = [
  "AffineLinear",
  "Classifier",
  "HeavyConv",
  "HeavyLinear",
  "InputError",
  "LowRankQuadraticConv",
  "LowRankQuadraticLinear",
  "QuadraticConv",
  "QuadraticLinear",
  "ReducedQuadraticConv",
  "ReducedQuadraticLinear",
  "initializers",
  "inspect",
  "losses",
  "ops",
  "replace",
]
