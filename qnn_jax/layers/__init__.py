"""Flax NNX layers over `qnn_jax.ops`, each a drop-in for `nnx.Linear` or `nnx.Conv`.

Every `...Linear` is a subclass of `nnx.Linear`. It takes all arguments of `nnx.Linear`, has its
attributes, `kernel` and `bias` among them, and adds parameters of its own. By default the quadratic
part starts at zero (for the reduced form: one factor starts at one), so that a layer begins as the
`nnx.Linear` that it takes the place of and learns its curvature. The same holds for every `...Conv`
and `nnx.Conv`. The papers' start, every parameter from U[-0.01, 0.01), is
`models.Classifier(..., param_init=...)`.

Keys: a layer takes those of its kernel and its bias from `rngs`, in this order, as `nnx.Linear` does.
Every further parameter's is folded out of the kernel's (`further_key`), so that whatever is drawn
behind the layer starts as it would behind an `nnx.Linear`.

With `derivative="closed_form"`, the default, a layer has the papers' backward pass and no forward
mode: `jax.jvp`, `jacfwd` and `linearize` raise JAX's TypeError about custom_vjp. For those, take
`derivative="autodiff"`; the numbers are the same. Where a `dot_general` or a `conv_general_dilated`
is given, JAX differentiates its product, and the closed form covers the quadratic part.
"""

from qnn_jax.layers._affine import AffineLinear
from qnn_jax.layers._heavy import HeavyLinear
from qnn_jax.layers._heavy_conv import HeavyConv
from qnn_jax.layers._linear import QuadraticParam
from qnn_jax.layers._low_rank import LowRankQuadraticLinear
from qnn_jax.layers._low_rank_conv import LowRankQuadraticConv
from qnn_jax.layers._quadratic import QuadraticLinear
from qnn_jax.layers._quadratic_conv import QuadraticConv
from qnn_jax.layers._reduced_quadratic import ReducedQuadraticLinear
from qnn_jax.layers._reduced_quadratic_conv import ReducedQuadraticConv

__all__ = [
  "AffineLinear",
  "HeavyConv",
  "HeavyLinear",
  "LowRankQuadraticConv",
  "LowRankQuadraticLinear",
  "QuadraticConv",
  "QuadraticLinear",
  "QuadraticParam",
  "ReducedQuadraticConv",
  "ReducedQuadraticLinear",
]
