"""Quadratic layers in the place of chosen layers of a network, a trained one say: `replace`."""

from collections.abc import Mapping
from typing import NamedTuple

from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.surgery._exchange import exchanged
from qnn_jax.surgery._places import Kind, Where, check_can_be_put, chosen_of, named, places_of, put

__all__ = ["Exchanged", "replace"]


class Exchanged(NamedTuple):
  """What stood at a place and what stands there now; both have the same kernel and bias."""

  old: nnx.Module
  new: nnx.Module


def replace(
  model: nnx.Module, kinds: Mapping[Where, Kind], *, rngs: nnx.Rngs | None = None
) -> dict[str, Exchanged]:
  """Exchanges layers of a model, in place, for quadratic ones that by default start with the same outputs.

  A new layer takes over the kernel and the bias themselves, the same `nnx.Variable` objects, and all
  attributes of the old: dtypes, precision, strides. Its further parameters are new: with the
  kernel's dtype, on the kernel's devices, and split as the kernel is along the axes that they have
  in common. A layer that the model has at several places is exchanged for one at all of them. A
  stack of layers, as `nnx.vmap` makes it, becomes a stack, if its axes are the first.

  A layer's outputs stay as they were, on a CPU under one `jax.jit` to the last bit, unless a partial
  names a start of its own, heavy_init=ones say; for every kind of `heads` starts as the layer that it takes the place of; see docs/layers.md, 'Numbers'. What
  stands behind it XLA may compute in another order: a model's outputs stay to rounding.

  It works on a traced model too, inside `nnx.jit`, where XLA chooses on Auto axes how the new
  parameters are split; and on an abstract one, of `nnx.eval_shape`.

  An optimiser that was made before does not know the new parameters: make a new one,
  `nnx.Optimizer(model, ..., wrt=nnx.Param)`; `training.minibatch.quadratic_partition` gives them a
  rate of their own. To keep the old model, exchange in a copy: `nnx.clone(model)`.

  Args:
    model: any `nnx.Module`; its layers may stand in attributes, lists and dicts, at any depth.
    kinds: which layers become what. A key is a dotted path, 'blocks.3.out', where `*` stands for
      anything, dots included; or a path as `nnx.iter_modules` gives it, ('blocks', 3, 'out'); or a
      function `(dotted path, layer) -> bool`. Only `nnx.Linear`, `AffineLinear` and `nnx.Conv` can
      be exchanged; a pattern or a function never chooses anything else, and no subclass of theirs,
      such as `nnx.LoRALinear`. A value is the name of a head, 'qnn', or what is called as the old
      layer's class: `HeavyLinear`, `functools.partial(QuadraticLinear, cache=False)`. What a partial
      names is taken in the place of the old layer's.
    rngs: the keys of what a kind draws, one of `rngs.params()` a layer; `nnx.Rngs(0)` by default.
      Of this package's kinds only low rank draws anything, its v.

  Returns:
    dotted path -> (old, new), an entry for every place.

  Raises:
    InputError: an entry that chooses nothing or makes no layer of the right form, a layer that two
      entries want to be different kinds, one that cannot be changed where it stands. Nothing is
      changed then.

  >>> model = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.relu)
  >>> replaced = replace(model, {"layers.0": "qnn"})
  >>> {path: type(layer.new).__name__ for path, layer in replaced.items()}
  {'layers.0': 'QuadraticLinear'}
  >>> model.layers[0] is replaced["layers.0"].new
  True
  """
  if not isinstance(model, nnx.Module):
    raise InputError(f"replace changes an nnx.Module, and got {named(type(model))}")
  rngs = nnx.Rngs(0) if rngs is None else rngs
  if not isinstance(rngs, nnx.Rngs):
    raise InputError(f"rngs must be an nnx.Rngs, nnx.Rngs(0) say, got {rngs!r}")
  chosen = chosen_of(list(places_of(model)), kinds)
  new: dict[int, nnx.Module] = {}
  for place, kind in chosen:
    check_can_be_put(place)
    if id(place.module) not in new:
      new[id(place.module)] = exchanged(place, kind, rngs)
  # Everything that can fail has been done.
  for place, _ in chosen:
    put(place, new[id(place.module)])
  return {place.path: Exchanged(place.module, new[id(place.module)]) for place, _ in chosen}
