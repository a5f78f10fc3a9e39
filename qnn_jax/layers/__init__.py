"""Flax NNX layers over `qnn_jax.ops`, each a drop-in for `nnx.Linear` or `nnx.Conv`.

Every `...Linear` is a subclass of `nnx.Linear`. It takes all arguments of `nnx.Linear`, has its
attributes (`kernel` and `bias` among them), and adds parameters of its own. By default the quadratic
part starts at zero (in the reduced form, one factor starts at one). So a new layer computes what the
`nnx.Linear` in its place would compute, and learns its curvature in training. The same holds for every
`...Conv` and `nnx.Conv`. For the papers' start, every parameter from U[-0.01, 0.01), see
`models.Classifier(..., param_init=...)`.

Keys: a layer takes the keys of its kernel and its bias from `rngs`, in this order, as `nnx.Linear` does.
The keys of its further parameters are folded out of the kernel's key (`further_key`). So the layers
after it get the same keys as after an `nnx.Linear`.

With `derivative="closed_form"`, the default, a layer has the papers' backward pass and no forward
mode: `jax.jvp`, `jacfwd` and `linearize` raise JAX's TypeError about custom_vjp. For these use
`derivative="autodiff"`, which gives the same numbers. If you pass your own `dot_general` or
`conv_general_dilated`, JAX differentiates that product, and the closed form is used for the quadratic
part only.
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
