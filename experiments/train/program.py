"""The compiled functions of a training: initialisation, step and test; data parallel over all devices.

The batch is divided among the devices of this process, every device holds all parameters, and XLA sums the
gradients. The seed and the learning rates are arguments, so that runs that differ only in them share the program.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.train import networks, settings
from experiments.train.settings import Shape
from qnn_jax import losses, models
from qnn_jax.errors import InputError
from qnn_jax.training import _compile, optimizers

AXIS = "data"
# A batch of test images holds at most so many images, and at most about so many numbers.
_TESTED_AT_ONCE, _TESTED_NUMBERS = 500, 2**24


class State(NamedTuple):
  """The state of a training: parameters, the model's other variables, and the optimiser's state."""

  params: Any
  rest: Any
  optimizer: Any


class Tested(NamedTuple):
  """Results on a split: mean loss, accuracy in percent, and the confusion matrix [C, C], true classes in rows."""

  loss: float
  accuracy: float
  confusion: np.ndarray


class Program:
  """The functions of a training, each compiled once, when it is first called.

  Args:
    shape: what the program depends on.

  Attributes:
    parameters: the number of parameters of the network.
    classes: the number of outputs.
    tested_at_once: the number of images in a batch of `test`.
    compiled_s: the seconds spent on compilation so far.
    step_bytes: memory of a step on a device: arguments, results and temporaries; 0 before the first step.
  """

  def __init__(self, shape: Shape):
    self._shape = shape
    network = shape.network
    if network.parameters:
      network = models.matched(network, shape.image_shape, shape.classes)
    self._network = network
    self._mesh = Mesh(np.array(jax.local_devices()), (AXIS,), axis_types=(AxisType.Auto,))
    self._whole = NamedSharding(self._mesh, P())
    self._parted = NamedSharding(self._mesh, P(AXIS))
    with networks.told(network.kind):
      abstract = nnx.eval_shape(lambda: self._make(jax.random.key(0)))
    if not isinstance(abstract, nnx.Module):
      raise InputError(
        f"the network '{network.kind}' must be an nnx.Module, got {type(abstract).__name__}"
      )
    self._graph = nnx.graphdef(abstract)
    self.parameters = models.count_parameters(abstract)
    self.classes = shape.classes
    size = math.prod(shape.image_shape)
    self.tested_at_once = max(1, min(_TESTED_AT_ONCE, _TESTED_NUMBERS // size))
    self.compiled_s = 0.0
    self.step_bytes = 0
    self._compiled: dict[Any, Callable] = {}
    # Random draws take long to compile at XLA's full optimisation level, and run only once.
    self._draw: Any = _compile.jit(self._start, level=1, on_cpu=True)

  def check(self) -> None:
    """Looks up every name and traces a step without computing anything; InputError for what does not fit."""
    of = self._shape
    # Not during tracing, where JAX adds lines of its own to an error.
    self._optimizer(dict.fromkeys(settings.RATES, 0.1))
    rates = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in settings.RATES}
    images = jax.ShapeDtypeStruct((of["batch_size"], *of.image_shape), jnp.uint8)
    labels = jax.ShapeDtypeStruct((of["batch_size"],), jnp.int32)
    state = jax.eval_shape(self._start, jax.eval_shape(lambda: jax.random.key(0)), rates)
    with networks.told(of.network.kind):
      logits = jax.eval_shape(self._outputs, state, images)
    networks.check_outputs(of.network.kind, logits, (of["batch_size"], of.classes))
    jax.eval_shape(self._step, state, rates, images, labels)

  def start(self, seed: int, rates: Mapping[str, Any]) -> State:
    """The initial state, before the first step."""
    begin = time.perf_counter()
    known = self._draw._cache_size()
    state = jax.block_until_ready(self._draw(jax.random.key(seed), rates))
    if self._draw._cache_size() > known:
      self.compiled_s += time.perf_counter() - begin
    return self.put(state)

  def step(self, state: State, rates: Mapping[str, Any], images, labels):
    """(state after a step, which reuses the arrays of the old state; mean loss; number of correct images)."""
    images, labels = jax.device_put((images, labels), self._parted)
    return self._call(self._step, state, rates, images, labels, donate=(0,))

  def test(self, state: State, batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> Tested:
    """Tests the model, in evaluation mode, on all images of these batches; the loss has no label smoothing.

    A batch has at most `tested_at_once` images.
    """
    sums = None
    for images, labels in batches:
      count = len(labels)
      missing = -(-self.tested_at_once // self._mesh.size) * self._mesh.size - count
      images = np.pad(images, ((0, missing), *((0, 0),) * 3))
      labels = np.pad(labels, (0, missing), constant_values=-1)
      images, labels = jax.device_put((images, labels), self._parted)
      found = self._call(self._test, state, images, labels)
      sums = found if sums is None else jax.tree.map(jnp.add, sums, found)
    loss, confusion = jax.tree.map(np.asarray, sums)
    total = confusion.sum()
    return Tested(float(loss) / total, 100 * float(np.trace(confusion)) / total, confusion)

  def put(self, tree: Any) -> Any:
    """Puts the arrays of a checkpoint on every device."""
    return jax.device_put(tree, self._whole)

  def kept(self, state: State) -> tuple[Any, dict[str, Any]]:
    """(parameters and statistics as a tree of arrays, description from which `sweeps.trained` makes the network)."""
    _, statistics = nnx.split_state(state.rest, nnx.RngState, ...)
    variables = nnx.to_pure_dict(nnx.merge_state(state.params, statistics))
    return jax.tree.map(np.asarray, variables), models.described(
      self._network, self._shape.image_shape, self.classes
    )

  def learning_rates(self, step: int, rates: Mapping[str, Any]) -> dict[str, float]:
    """The rates at this step, counted from 0: learning_rate, and quadratic_learning_rate if it differs."""
    names = ["learning_rate"] + ["quadratic_learning_rate"] * self._shape.quadratic_rate
    scheduled = {name: self._scheduled(rates[name]) for name in names}
    return {name: float(of(step) if callable(of) else of) for name, of in scheduled.items()}

  def _make(self, key):
    dtype = jnp.dtype(self._shape["dtype"])
    shape = self._shape.image_shape
    return models.build(self._network, shape, self._shape.classes, dtype=dtype, rngs=nnx.Rngs(key))

  def _split(self, model):
    return nnx.split(model, nnx.Param, ...)

  def _optimizer(self, rates) -> optax.GradientTransformation:
    of, own = self._shape, None
    if of.quadratic_rate:
      own = self._scheduled(rates["quadratic_learning_rate"])
    return optimizers.optimizer(
      of["optimizer"],
      self._scheduled(rates["learning_rate"]),
      arguments=settings.arguments("optimizer_arguments", of["optimizer_arguments"]),
      weight_decay=rates["weight_decay"] if of.decays else 0.0,
      quadratic_learning_rate=own,
      clip=of["clip"],
    )

  def _scheduled(self, rate) -> Any:
    of = self._shape
    if of["schedule"] == "constant" and not of["warmup_steps"]:
      return rate  # passed as a number, because some optimisers take no schedule
    return optimizers.schedule(
      of["schedule"],
      rate,
      of.steps,
      warmup_steps=of["warmup_steps"],
      arguments=settings.arguments("schedule_arguments", of["schedule_arguments"]),
    )

  def _start(self, key, rates):
    _, params, rest = self._split(self._make(key))
    return State(params, rest, self._optimizer(rates).init(params))

  def _outputs(self, state, images):
    return self._logits(nnx.merge(self._graph, state.params, state.rest, copy=True), images)

  def _logits(self, model, images):
    inputs = images.astype(jnp.float32) / 255 - self._shape["input_shift"]
    return model(inputs).astype(
      jnp.float32
    )  # losses and sums in float32, whatever the layers compute in

  def _loss(self, logits, labels, smoothing=0.0):
    return losses.get(self._shape["loss"], label_smoothing=smoothing)(logits, labels)

  def _step(self, state, rates, images, labels):
    def mean_loss(params):
      model = nnx.merge(self._graph, params, state.rest, copy=True)
      logits = self._logits(model, images)
      rest = self._split(model)[-1]
      loss = self._loss(logits, labels, self._shape["label_smoothing"]).mean()
      return loss, ((logits.argmax(-1) == labels).sum(), rest)

    (loss, (right, rest)), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    updates, optimizer = self._optimizer(rates).update(grads, state.optimizer, state.params)
    return State(optax.apply_updates(state.params, updates), rest, optimizer), loss, right

  def _test(self, state, images, labels):
    model = nnx.merge(self._graph, state.params, state.rest, copy=True)
    model.eval()
    logits, there = self._logits(model, images), labels >= 0
    # Rows that pad a batch have no label. Their loss may be anything, and is not counted.
    loss = jnp.where(there, self._loss(logits, labels), 0).sum()
    classes = self._shape.classes
    confusion = jnp.zeros((classes, classes), jnp.int32)
    return loss, confusion.at[labels, logits.argmax(-1)].add(there, mode="drop")

  def _call(self, function, *args, donate=()):
    key = function.__name__
    if key not in self._compiled:
      begin = time.perf_counter()
      jitted = jax.jit(function, donate_argnums=donate, out_shardings=self._whole)
      compiled = self._compiled[key] = jitted.lower(*args).compile()
      self.compiled_s += time.perf_counter() - begin
      if key == "_step":
        self.step_bytes = _bytes(compiled)
    return self._compiled[key](*args)


@functools.lru_cache(maxsize=4)
def program_of(shape: Shape) -> Program:
  """The program, cached for the next runs of the process."""
  return Program(shape)


def _bytes(compiled) -> int:
  memory = compiled.memory_analysis()
  if memory is None:  # this backend does not report memory
    return 0
  of = lambda name: getattr(memory, f"{name}_size_in_bytes")
  return of("argument") + of("output") - of("alias") + of("temp")
