"""`replace` exchanges layers of a network, which may be trained, for quadratic layers."""

from collections.abc import Mapping
from typing import NamedTuple

from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.surgery._exchange import exchanged
from qnn_jax.surgery._places import Kind, Where, check_can_be_put, chosen_of, named, places_of, put

__all__ = ["Exchanged", "replace"]


class Exchanged(NamedTuple):
  """One exchanged layer.

  Attributes:
    old: the layer that was there before.
    new: the layer that is there now, with the same kernel and bias.
  """

  old: nnx.Module
  new: nnx.Module


def replace(
  model: nnx.Module, kinds: Mapping[Where, Kind], *, rngs: nnx.Rngs | None = None
) -> dict[str, Exchanged]:
  """Exchanges layers of a model, in place, for quadratic layers that by default give the same outputs.

  A new layer takes over the kernel and the bias of the old one, the same `nnx.Variable` objects, and all
  its attributes: dtypes, precision, strides. Its further parameters are new. They have the kernel's
  dtype, lie on the kernel's devices, and are sharded as the kernel is along the axes that both have. If
  the model has one layer at several places, one new layer takes all of them. A stack of layers, as
  `nnx.vmap` makes it, becomes a stack if the axes of the stack come first.

  Every kind of `heads` starts with the outputs of the layer that it replaces. On a CPU, under one
  `jax.jit`, they are equal to the last bit. A partial with a start of its own, heavy_init=ones for
  example, changes them. XLA may compute the rest of the model in another order, so that a model's
  outputs are equal except for rounding. See docs/layers.md, 'Numbers'.

  `replace` works on a traced model too, inside `nnx.jit`; there XLA chooses, on Auto axes, how the new
  parameters are sharded. It also works on an abstract model from `nnx.eval_shape`.

  An optimiser made before does not know the new parameters. Make a new one,
  `nnx.Optimizer(model, ..., wrt=nnx.Param)`. With `training.minibatch.quadratic_partition` the new
  parameters get their own learning rate. To keep the old model, use a copy: `nnx.clone(model)`.

  Args:
    model: any `nnx.Module`; its layers may be in attributes, lists and dicts, at any depth.
    kinds: a mapping from the layers to exchange to the new kinds. A key is a dotted path,
      'blocks.3.out', in which `*` matches anything, dots included; or a path as `nnx.iter_modules`
      gives it, ('blocks', 3, 'out'); or a function `(dotted path, layer) -> bool`. Only `nnx.Linear`,
      `AffineLinear` and `nnx.Conv` can be exchanged. A pattern or a function chooses only these, and
      none of their subclasses, such as `nnx.LoRALinear`. A value is the name of a head, 'qnn', or a
      callable with the arguments of the old layer's class: `HeavyLinear`,
      `functools.partial(QuadraticLinear, cache=False)`. The arguments in a partial replace those of
      the old layer.
    rngs: source of random keys, one of `rngs.params()` for each layer; `nnx.Rngs(0)` by default. Of
      this package's kinds only low rank draws anything, its v.

  Returns:
    dotted path -> (old, new), with an entry for every place.

  Raises:
    InputError: a key matches no layer, a value makes no layer of the right form, two keys ask for
      different kinds of one layer, or a layer cannot be changed in its place. Then nothing is changed.

  >>> model = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.relu)
  >>> replaced = replace(model, {"layers.0": "qnn"})
  >>> {path: type(layer.new).__name__ for path, layer in replaced.items()}
  {'layers.0': 'QuadraticLinear'}
  >>> model.layers[0] is replaced["layers.0"].new
  True
  """
  if not isinstance(model, nnx.Module):
    raise InputError(f"replace needs an nnx.Module, got {named(type(model))}")
  rngs = nnx.Rngs(0) if rngs is None else rngs
  if not isinstance(rngs, nnx.Rngs):
    raise InputError(f"rngs must be an nnx.Rngs, for example nnx.Rngs(0), got {rngs!r}")
  chosen = chosen_of(list(places_of(model)), kinds)
  new: dict[int, nnx.Module] = {}
  for place, kind in chosen:
    check_can_be_put(place)
    if id(place.module) not in new:
      new[id(place.module)] = exchanged(place, kind, rngs)
  # Everything that can fail is done now.
  for place, _ in chosen:
    put(place, new[id(place.module)])
  return {place.path: Exchanged(place.module, new[id(place.module)]) for place, _ in chosen}
