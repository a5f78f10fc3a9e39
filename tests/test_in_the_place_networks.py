"""The same cases for `nnx.Linear` and for every layer of ours: checkpoints, and whole networks."""

import itertools

import jax
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx
from in_the_place import OWN, close, each_of_ours, every_layer, inputs, make, named, random

# Checkpoints.


@every_layer
def test_a_checkpoint_brings_back_every_parameter(layer, tmp_path):
  module, x = random(layer), inputs(5)
  with orbax.checkpoint.StandardCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / "state", nnx.to_pure_dict(nnx.state(module)))
  other = make(layer, seed=9)
  with orbax.checkpoint.StandardCheckpointer() as checkpointer:
    restored = checkpointer.restore(tmp_path / "state", nnx.to_pure_dict(nnx.state(other)))
  state = nnx.state(other)
  nnx.replace_by_pure_dict(state, restored)
  nnx.update(other, state)
  np.testing.assert_array_equal(other(x), module(x))


# Whole networks with one layer exchanged.


class MLP(nnx.Module):
  """Three layers, the one at `place` of the class `layer`."""

  def __init__(self, layer, place, rngs):
    sizes = (6, 5, 4, 3)
    self.layers = nnx.List(
      (layer if i == place else nnx.Linear)(n, m, rngs=rngs)
      for i, (n, m) in enumerate(itertools.pairwise(sizes))
    )

  def __call__(self, x):
    for layer in self.layers[:-1]:
      x = nnx.relu(layer(x))
    return self.layers[-1](x)


class CNN(nnx.Module):
  """A convolution, normalisation, dropout and two layers, the one at `place` of the class `layer`."""

  def __init__(self, layer, place, rngs):
    self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    self.middle = (layer if place == 1 else nnx.Linear)(4 * 4 * 4, 33, rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=rngs)
    self.last = (layer if place == 2 else nnx.Linear)(33, 3, rngs=rngs)

  def __call__(self, x):
    x = nnx.avg_pool(nnx.relu(self.norm(self.conv(x))), (2, 2), strides=(2, 2))
    x = self.dropout(nnx.relu(self.middle(x.reshape(len(x), -1))))
    return self.last(x)


@each_of_ours  # an nnx.Linear in its own place is the network that it is compared with
@pytest.mark.parametrize("place", [1, 2], ids=["middle", "last"])
@pytest.mark.parametrize("network, shape", [(MLP, (5, 6)), (CNN, (5, 8, 8, 1))], ids=named)
def test_a_layer_exchanged_in_a_network_changes_nothing_else(layer, place, network, shape):
  x = jax.random.normal(jax.random.key(1), shape)
  ours, theirs = (network(which, place, nnx.Rngs(3)) for which in (layer, nnx.Linear))
  flat = lambda module: dict(nnx.to_flat_state(nnx.state(module, nnx.Param)))
  found, expected = flat(ours), flat(theirs)
  for path, variable in expected.items():
    np.testing.assert_array_equal(found[path][...], variable[...])
  assert {path[-1] for path in found.keys() - expected.keys()} == set(OWN[layer])
  # The dropout's and the normalisation's state is the same too: the whole forward pass is one.
  outputs = [nnx.jit(lambda module, x: module(x))(module, x) for module in (ours, theirs)]
  np.testing.assert_array_equal(*outputs)
  loss = lambda module, x: (module(x) ** 2).sum()
  gradients = [flat(nnx.jit(nnx.grad(loss))(module, x)) for module in (ours, theirs)]
  for path, variable in gradients[1].items():
    close(gradients[0][path][...], variable[...], rtol=1e-4, atol=1e-4)
