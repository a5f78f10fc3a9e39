"""A head of one's own in one file: a layer, its registration, and a config of Table 4 that has it."""

import jax
from flax import nnx

from configs import table4
from qnn_jax import heads, layers


class Shifted(layers.HeavyLinear):
  """The Heavy layer of inputs less a trained shift."""

  def __init__(self, n, m, *, shift_init=jax.nn.initializers.zeros, rngs, **heavy):
    super().__init__(n, m, rngs=rngs, **heavy)
    self.shift = nnx.Param(shift_init(rngs.params(), (n,), self.param_dtype))

  def __call__(self, inputs, out_sharding=None):
    return super().__call__(inputs - self.shift, out_sharding)


STARTS = heads.get("heavy").starts | {"shift_init": heads.as_drawn}
heads.register(heads.Head("shifted", Shifted, STARTS, "Shifted", "#E69F00", "v"))


def get_config(preset=""):
  config = table4.get_config("smoke")
  config.update(models=("ann", "shifted"), train_sizes=(40,), epochs=(1,), hidden=(3,), seeds=8)
  return config
