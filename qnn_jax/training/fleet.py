"""A fleet: networks that are trained side by side in one program, for many lanes at once.

A lane is one run of all the networks. Its seed, learning rate and initialization are values, not parts
of the compiled program. All networks of a seed see the same samples in the same order, so that models
are compared on paired data. The random numbers of a seed depend only on its number, not on the other
lanes or networks.

Axis letters in this package: S lanes, N samples, n inputs, h hidden neurons, C classes.
"""

import collections
import dataclasses
import functools
import math
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from qnn_jax import models
from qnn_jax.errors import InputError
from qnn_jax.initializers import STARTS, Initializer
from qnn_jax.training import _compile

Params = dict[str, Any]
"""The parameters of one net, {"layers": {0: {"kernel": [S, n, h], "bias": [S, h]}, 1: {...}}}.

This is the pure dict of its nnx.State; every leaf has a leading axis [S]. `nnx.merge(graphdef, ...)`
takes those of one lane.
"""


@dataclasses.dataclass(frozen=True)
class Net:
  """One architecture of a fleet; head, hidden and hidden_kind are arguments of `models.Classifier`."""

  head: str
  hidden: int | tuple[int, ...]
  hidden_kind: str | tuple[str, ...] = "ann"

  @property
  def name(self) -> str:
    """The text from which the net's random numbers are derived: changing it changes every result."""
    return f"Net(head={self.head!r}, hidden={self.hidden!r}, hidden_kind={self.hidden_kind!r})"


@dataclasses.dataclass(frozen=True)
class Fleet:
  """Nets that share their inputs. A compiled program depends on these values only.

  Attributes:
    nets: the architectures, each once.
    in_features: n, the number of inputs.
    classes: C, the number of classes.
    dtype: the dtype of parameters and computation.
    input_shift: 8-bit pixels become x / 255 - input_shift; floats are not changed.
  """

  nets: tuple[Net, ...]
  in_features: int
  classes: int
  dtype: str = "float32"
  input_shift: float = 0.5

  def __post_init__(self):
    if not self.nets or len(set(self.nets)) < len(self.nets):
      raise InputError(f"a fleet needs nets, each once, got {self.nets}")

  def as_inputs(self, inputs: jax.Array) -> jax.Array:
    """inputs [..., n] in the computation's dtype; 8-bit pixels become x / 255 - input_shift."""
    if inputs.dtype == jnp.uint8:
      return inputs.astype(self.dtype) / 255 - self.input_shift
    return inputs.astype(self.dtype)

  def module(self, net: Net, key: jax.Array, param_init: Initializer) -> models.Classifier:
    """A new classifier with the architecture `net`, its parameters drawn by `param_init` from key []."""
    return models.Classifier(
      self.in_features,
      net.hidden,
      self.classes,
      net.head,
      hidden_kind=net.hidden_kind,
      param_init=param_init,
      param_dtype=jnp.dtype(self.dtype),
      rngs=nnx.Rngs(params=key),
    )

  def graphdef(self, net: Net) -> nnx.GraphDef:
    """The static part of `module(net, ...)`, to be merged with the parameters of one lane."""
    zeros = jax.nn.initializers.zeros
    return nnx.split(nnx.eval_shape(lambda: self.module(net, jax.random.key(0), zeros)))[0]


@dataclasses.dataclass(frozen=True)
class Lane:
  """One run of all the nets of a fleet: its seed, initialization and learning rate.

  Attributes:
    seed: the seed of the initial parameters and of the order of the samples.
    learning_rate: eta of (7), the same for every parameter.
    init: the distribution of the initial parameters, from `initializers.STARTS`: 'symmetric' is
      U[-s, s), 'positive' U[0, s), 'normal' N(0, s^2).
    init_scale: s, the same for every parameter; matrices are symmetrised.
  """

  seed: int
  learning_rate: float = 0.01
  init: str = "symmetric"
  init_scale: float = 0.01

  def __post_init__(self):
    if self.init not in STARTS:
      raise InputError(f"unknown init '{self.init}'; choose one of {', '.join(STARTS)}")

  @property
  def param_init(self) -> Initializer:
    """The initializer of every parameter."""
    return STARTS[self.init](self.init_scale)


def rates(fleet: Fleet, lanes: Sequence[Lane]) -> jax.Array:
  """The learning rates [S] of the lanes, in the fleet's dtype."""
  return jnp.asarray([lane.learning_rate for lane in lanes], fleet.dtype)


def init(fleet: Fleet, lanes: Sequence[Lane]) -> list[Params]:
  """The initial parameters of every net for these lanes, in the order of `fleet.nets`; leaves [S, ...]."""
  names = sorted({lane.init for lane in lanes})
  seeds = jnp.asarray([lane.seed for lane in lanes], jnp.uint32)
  scales = jnp.asarray([lane.init_scale for lane in lanes], fleet.dtype)
  # One program for each distribution, run for all lanes, so that it serves any mixture of lanes. If one
  # program had all distributions, the rounding of one would depend on the others.
  each = [_init(fleet, name, seeds, scales) for name in names]
  if len(each) == 1:
    return each[0]
  return _chosen(jnp.asarray([names.index(lane.init) for lane in lanes]), each)


@functools.partial(_compile.jit, level=0, on_cpu=True, static_argnums=(0, 1))
def _init(fleet, name, seeds, scales):
  return jax.vmap(functools.partial(_init_lane, fleet, name))(seeds, scales)


@functools.partial(_compile.jit, level=0, on_cpu=True)
def _chosen(which, each):
  """The arrays whose lane s is that of each[which[s]]."""
  of_lane = lambda i, *leaves: jax.lax.select_n(i, *leaves)
  return jax.tree.map(lambda *leaves: jax.vmap(of_lane)(which, *leaves), *each)


def _init_lane(fleet, name, seed, scale):
  """The states of `fleet.module(net, key)` of all nets; draws of about the same size are made together.

  Drawn separately, the 75 parameters of Table 4's nets take three times as long to compile as the 5
  joint draws.
  """
  shapes = [_drawn_shapes(fleet, net) for net in fleet.nets]
  keys = _drawn_keys(fleet, seed)
  alike = collections.defaultdict(list)
  for i, j in ((i, j) for i, of_net in enumerate(shapes) for j in range(len(of_net))):
    alike[_drawn_alike(shapes[i][j])].append((i, j))
  drawn = {}
  for places in alike.values():
    size = max(math.prod(shapes[i][j]) for i, j in places)
    draw = lambda key, size=size: STARTS[name](scale)(key, (size,), fleet.dtype)
    drawn_keys = jnp.stack([keys[i][j] for i, j in places])
    for (i, j), values in zip(places, jax.vmap(draw)(drawn_keys)):
      drawn[i, j] = values[: math.prod(shapes[i][j])].reshape(shapes[i][j])

  def start(i, net):
    values = (drawn[i, j] for j in range(len(shapes[i])))
    module = fleet.module(net, jax.random.key(0), lambda key, shape, dtype: next(values))
    return nnx.to_pure_dict(nnx.state(module))

  return [start(i, net) for i, net in enumerate(fleet.nets)]


def _drawn_keys(fleet, seed):
  """The keys of each net's draws, in turn: [nets][draws]."""
  # Keys do not depend on sizes, so nets with the same kinds of layers are traced once.
  of_layers = collections.defaultdict(list)
  for i, net in enumerate(fleet.nets):
    depth = 1 if isinstance(net.hidden, int) else len(net.hidden)
    of_layers[net.head, net.hidden_kind, depth].append(i)
  keys = [None] * len(fleet.nets)
  for places in of_layers.values():
    # A number of the net alone, so that its start does not depend on the other nets.
    numbers = [zlib.crc32(fleet.nets[i].name.encode()) for i in places]

    def of_net(number, net=fleet.nets[places[0]]):
      taken = []

      def note(key, shape, dtype):
        taken.append(key)
        return jnp.zeros(shape, dtype)

      fleet.module(net, jax.random.fold_in(jax.random.key(seed), number), note)
      return jnp.stack(taken)

    for i, of_i in zip(places, jax.vmap(of_net)(jnp.asarray(numbers, jnp.uint32))):
      keys[i] = of_i
  return keys


def _drawn_alike(shape):
  """The key by which draws are grouped: roughly their size, or their exact shape.

  A draw of JAX's default generator is the beginning of any longer draw.
  """
  config: Any = jax.config  # whose types, before JAX 0.12, do not list its options
  if config.jax_threefry_partitionable and config.jax_default_prng_impl == "threefry2x32":
    return math.prod(shape).bit_length() // 3
  return shape


def _drawn_shapes(fleet, net):
  """The shapes of the parameters that a module of this net draws, in order."""
  shapes = []

  def note(key, shape, dtype):
    shapes.append(tuple(shape))
    return jnp.zeros(shape, dtype)

  nnx.eval_shape(lambda: fleet.module(net, jax.random.key(0), note))
  return shapes


def sample_order(seeds: Sequence[int], size: int, available: int, *, shared: bool) -> jax.Array:
  """The samples [S, N] that each seed trains on, in their order, which is the same in every epoch.

  Args:
    seeds: the seeds; equal seeds get equal orders.
    size: N, the number of samples that a seed draws without replacement. A smaller draw is the beginning
      of a larger one.
    available: the number of samples to draw from.
    shared: whether all seeds get the draw of seed 0.

  Raises:
    InputError: size is not in 1..available.
  """
  if not 1 <= size <= available:
    raise InputError(
      f"the training size must be 1 to {available}, the number of samples, got {size}"
    )
  numbers = [0] * len(seeds) if shared else list(map(int, seeds))
  once = tuple(dict.fromkeys(numbers))
  places = [once.index(number) for number in numbers]
  return jnp.asarray(_whole_order(once, available)[places, :size])


@functools.lru_cache(maxsize=1)  # a sweep needs the order of the same seeds at every size
def _whole_order(seeds, available):
  return np.asarray(_draw_orders(jnp.asarray(seeds, jnp.uint32), available), np.int32)


@functools.partial(_compile.jit, level=0, on_cpu=True, static_argnums=1)
def _draw_orders(seeds, available):
  def draw(seed):
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"order"))
    return jax.random.permutation(key, available)

  return jax.lax.map(draw, seeds)
