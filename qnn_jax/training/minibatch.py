"""Minibatch training of any NNX model with any optax optimiser, as one pure function of a key.

`make_train` returns a function that works under `jax.jit` and `jax.vmap`, so that several seeds are one
`jax.vmap`. Quadratic parameters can have their own optimiser, see `quadratic_partition`. Their gradients
contain products of two activations, those of affine parameters only one activation. So a learning rate
that suits the affine parameters is often far too high for the quadratic ones.

Matrix products have JAX's default precision, which rounds their inputs on a GPU or TPU. To keep
float32, call the training inside `jax.default_matmul_precision("highest")`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.layers import QuadraticParam


class Trained(NamedTuple):
  """The result of one training. Under `jax.vmap` every array has a leading axis of seeds.

  Attributes:
    params: the model's parameters at the end.
    rest: the model's other variables: batch statistics and random keys; none in the papers' networks.
    loss: [steps] mean loss of each step's batch, before that step's update.
    diverged: bool []: whether a loss or a parameter stopped being finite.
    diverged_at: int32 []: the first step whose loss is not finite; `steps` if there is none.
  """

  params: nnx.State
  rest: nnx.State
  loss: jax.Array
  diverged: jax.Array
  diverged_at: jax.Array


class State(NamedTuple):
  """The state of a training between two epochs, as a checkpoint holds it.

  Attributes:
    params, rest: the model's variables, as in `Trained`.
    optimizer: the optimiser's state.
    order: uint32 [2], the data of the key from which the orders of all epochs are drawn.
    epoch: int32 [], the number of epochs that are done.
  """

  params: nnx.State
  rest: nnx.State
  optimizer: optax.OptState
  order: jax.Array
  epoch: jax.Array


MakeModel = Callable[[nnx.Rngs], nnx.Module]
"""rngs -> model."""
Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""(outputs [B, ...], targets [B, ...]) -> loss [B]."""
Train = Callable[[jax.Array, jax.Array, jax.Array], Trained]
"""(key, inputs [N, ...], targets [N, ...]) -> the result of a training."""


class Trainer(NamedTuple):
  """A training in two pure functions, so that it can be stopped and resumed.

  Attributes:
    start: key -> the first `State`.
    run: (state, inputs [N, ...], targets [N, ...], epochs) -> (state, losses [epochs * (N // batch_size)]);
      `epochs` is static.
  """

  start: Callable[[jax.Array], State]
  run: Callable[[State, jax.Array, jax.Array, int], tuple[State, jax.Array]]


def make_trainer(
  make_model: MakeModel, loss: Loss, optimizer: optax.GradientTransformation, *, batch_size: int
) -> Trainer:
  """Like `make_train`, but the training runs in parts. The parts together give the same numbers.

  Args:
    make_model, loss, optimizer, batch_size: as in `make_train`. The optimiser may hold traced numbers, such
      as a learning rate that differs among the elements of a `jax.vmap`.

  Raises:
    InputError: batch_size is below 1. `run` raises the errors of `make_train`'s `train`.
  """
  if batch_size < 1:
    raise InputError(f"batch_size must be at least 1, got {batch_size}")

  def start(key: jax.Array) -> State:
    params_key, order_key = jax.random.split(key)
    parts: tuple[Any, ...] = nnx.split(make_model(nnx.Rngs(params_key)), nnx.Param, ...)
    _, params, rest = parts
    order = jax.random.key_data(order_key)
    return State(params, rest, optimizer.init(params), order, jnp.zeros((), jnp.int32))

  def run(state, inputs, targets, epochs):
    inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
    batches = _batches(inputs, targets, batch_size)
    graph = nnx.graphdef(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))))

    def mean_loss(params, rest, x, y):
      model = nnx.merge(graph, params, rest, copy=True)  # A copy may be changed by its call.
      value = loss(model(x), y).mean()
      return value, nnx.split(model, nnx.Param, ...)[-1]

    def step(carry, rows):
      params, rest, state = carry
      (value, rest), grads = jax.value_and_grad(mean_loss, has_aux=True)(
        params, rest, inputs[rows], targets[rows]
      )
      updates, state = optimizer.update(grads, state, params)
      return (optax.apply_updates(params, updates), rest, state), value

    def epoch(carry, number):
      key = jax.random.fold_in(jax.random.wrap_key_data(state.order), number)
      order = jax.random.permutation(key, inputs.shape[0])
      return jax.lax.scan(step, carry, order[: batches * batch_size].reshape(batches, batch_size))

    carry = state.params, state.rest, state.optimizer
    numbers = state.epoch + jnp.arange(epochs, dtype=jnp.int32)
    carry, losses = jax.lax.scan(epoch, carry, numbers)
    return State(*carry, state.order, state.epoch + epochs), losses.reshape(-1)

  return Trainer(start, run)


def make_train(
  make_model: MakeModel,
  loss: Loss,
  optimizer: optax.GradientTransformation,
  *,
  epochs: int,
  batch_size: int,
) -> Train:
  """Makes a pure function `train(key, inputs, targets)` that initializes a model and trains it.

  Every epoch has a new random order of the samples. Samples that do not fill a last batch are left out
  of that epoch. `batch_size = len(inputs)` is full-batch gradient descent.

  Args:
    make_model: `rngs -> model`, where `model(inputs [B, ...])` returns outputs [B, ...].
    loss: `(outputs, targets) -> loss [B]`, any of `qnn_jax.losses`. The training minimises its mean over
      the batch.
    optimizer: any optax transformation, for example `quadratic_partition`.
    epochs: passes over the samples, at least 1.
    batch_size: samples in a batch, at least 1.

  Returns:
    `train(key, inputs [N, ...], targets [N, ...]) -> Trained`, with epochs * (N // batch_size)
    steps. For several seeds: `jax.jit(jax.vmap(train, (0, None, None)))(keys, inputs, targets)`. Equal
    keys give equal initial models and orders, whatever the loss and the optimiser.

  Raises:
    InputError: a number is below 1. `train` raises it if inputs and targets have different lengths, or
      fewer samples than batch_size.
  """
  if epochs < 1:
    raise InputError(f"epochs must be at least 1, got {epochs}")
  trainer = make_trainer(make_model, loss, optimizer, batch_size=batch_size)

  def train(key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Trained:
    return finish(*trainer.run(trainer.start(key), inputs, targets, epochs))

  return train


def finish(state: State, losses: jax.Array) -> Trained:
  """The result of a training, from its last `state` and the losses [steps] of all its steps."""
  bad = ~jnp.isfinite(losses)
  diverged_at = jnp.where(bad.any(), bad.argmax(), losses.size).astype(jnp.int32)
  diverged = bad.any() | ~_all_finite(state.params)
  return Trained(state.params, state.rest, losses, diverged, diverged_at)


def make_predict(make_model: MakeModel) -> Callable[[Trained, jax.Array], jax.Array]:
  """Makes a pure function `predict(trained, inputs [N, ...]) -> outputs [N, ...]`, in evaluation mode.

  `make_model` is that of the training. For several seeds: `jax.vmap(predict, (0, None))(trained, inputs)`.
  """

  def predict(trained: Trained, inputs: jax.Array) -> jax.Array:
    graph = nnx.graphdef(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))))
    model = nnx.merge(graph, trained.params, trained.rest, copy=True)
    model.eval()
    return model(inputs)

  return predict


def quadratic_labels(params: nnx.State | nnx.Module) -> nnx.State:
  """The label "quadratic" or "affine" in the place of every variable of `params`, for optax.

  A variable is quadratic if it has the type `QuadraticParam`, whatever its name.

  Raises:
    InputError: params is not a module or its state, whose variables have types.

  >>> from qnn_jax import QuadraticLinear
  >>> layer = QuadraticLinear(2, 1, rngs=nnx.Rngs(0))
  >>> dict(quadratic_labels(layer))
  {'bias': 'affine', 'kernel': 'affine', 'q': 'quadratic'}
  """
  state = nnx.state(params) if isinstance(params, nnx.Module) else params
  typed = isinstance(state, nnx.State)
  leaves = nnx.to_flat_state(state).leaves if typed else ()
  if not typed or not all(isinstance(leaf, nnx.Variable) for leaf in leaves):
    raise InputError(
      "the labels are read off the types of variables: pass a module or its nnx.state, "
      f"not {'a state of bare arrays' if typed else type(params).__name__}"
    )
  return nnx.map_state(
    lambda _, variable: "quadratic" if isinstance(variable, QuadraticParam) else "affine", state
  )


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Labels:
  """The label of every parameter by its path, as a static part of a state."""

  of: frozenset[tuple[tuple, str]]


class PartitionState(NamedTuple):
  """The state of `quadratic_partition`: the labels of the parameters, and inner, the optimisers' state."""

  labels: _Labels
  inner: optax.OptState


def quadratic_partition(
  quadratic: optax.GradientTransformation, affine: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
  """One optimiser for the quadratic parameters and another one for all others, by `optax.partition`.

  Its `init` needs the module's `nnx.state`: it recognises the quadratic parameters by their types, and
  keeps the labels. Its `update` also takes plain arrays, as `nnx.Optimizer` passes them.

  Args:
    quadratic: the optimiser of the parameters of type `QuadraticParam`.
    affine: the optimiser of all other parameters.

  >>> from qnn_jax import QuadraticLinear
  >>> layer = QuadraticLinear(2, 1, rngs=nnx.Rngs(0))
  >>> rates = quadratic_partition(optax.sgd(0.01), optax.sgd(0.1))
  >>> optimizer = nnx.Optimizer(layer, rates, wrt=nnx.Param)
  >>> updates = optimizer.update(layer, jax.tree.map(jnp.ones_like, nnx.state(layer)))
  >>> {name: round(float(update.min()), 3) for name, update in updates.items()}
  {'bias': -0.1, 'kernel': -0.1, 'q': -0.01}
  """
  optimizers = {"quadratic": quadratic, "affine": affine}

  def init(params):
    found = jax.tree_util.tree_leaves_with_path(quadratic_labels(params))
    labels = _Labels(frozenset((_path(path), label) for path, label in found))
    return PartitionState(labels, _partition(labels, params).init(params))

  def update(updates, state, params=None, **extra):
    partition = _partition(state.labels, updates)
    updates, inner = partition.update(updates, state.inner, params, **extra)
    return updates, PartitionState(state.labels, inner)

  def _partition(labels, tree):
    of = dict(labels.of)
    by_path = jax.tree_util.tree_map_with_path(lambda path, _: of[_path(path)], tree)
    return optax.partition(optimizers, by_path)

  return optax.GradientTransformationExtraArgs(init, update)


def _path(path) -> tuple:
  """The path of a parameter; in an nnx.State one more key leads from a variable to its value."""
  return tuple(key.key for key in path if isinstance(key, jax.tree_util.DictKey))


def _all_finite(tree) -> jax.Array:
  return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _batches(inputs: jax.Array, targets: jax.Array, batch_size: int) -> int:
  if not inputs.ndim or not targets.ndim or inputs.shape[0] != targets.shape[0]:
    raise InputError(
      "inputs and targets must have one row a sample, "
      f"got the shapes {inputs.shape} and {targets.shape}"
    )
  if inputs.shape[0] < batch_size:
    raise InputError(f"batch_size is {batch_size}, more than the {inputs.shape[0]} samples")
  return inputs.shape[0] // batch_size
