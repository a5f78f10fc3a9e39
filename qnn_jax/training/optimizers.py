"""Optax's optimisers and schedules by their names, as a config or a command line says them."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from qnn_jax.errors import InputError
from qnn_jax.training.minibatch import quadratic_partition

Schedule = Callable[[Any], Any]  # step -> rate, optax's
Rate = float | jax.Array | Schedule
Arguments = Mapping[str, Any]
NO_ARGUMENTS: Arguments = MappingProxyType({})

_CONTRIB = "contrib."
# What a training that gives gradients and parameters alone cannot give.
_NEEDS = {
  "lbfgs": "the loss as a function",
  "contrib.dpsgd": "the gradient of every sample",
  "contrib.momo": "the loss of every step",
  "contrib.momo_adam": "the loss of every step",
  "contrib.sophia": "the loss as a function",
  "contrib.schedule_free": "evaluation at other parameters than it trains",
  "contrib.schedule_free_adamw": "evaluation at other parameters than it trains",
  "contrib.schedule_free_sgd": "evaluation at other parameters than it trains",
}
_MASKS = ("mask", "weight_decay_mask")
# Its own decay leaves out what it updates by Adam, all but matrices of two axes.
_DECAYS_IN_PART = ("contrib.muon",)
_ENDINGS = ("_decay_schedule", "_schedule", "_decay")
_FIRST_RATES = ("peak_value", "init_value", "value")


def optimizer(
  name: str,
  learning_rate: Rate,
  *,
  arguments: Arguments = NO_ARGUMENTS,
  weight_decay: float | jax.Array | None = None,
  quadratic_learning_rate: Rate | None = None,
  clip: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """An optimiser of optax by its name.

  Weight decay is of matrices alone, parameters of two axes and more: never of biases or scales. An
  optimiser with an argument for it has it passed on, and does with it what its own page says. For all
  others it is decoupled: each step takes learning_rate * weight_decay times the parameter off, as AdamW
  does. A few have the argument and no mask beside it (novograd; contrib.madgrad, dadapt_adamw, prodigy):
  these decay all parameters.

  Args:
    name: a function of optax with an argument `learning_rate`, "adamw" or "sgd" say; with "contrib."
      before it one of optax.contrib, "contrib.muon". See `names`.
    learning_rate: a number, or a `schedule`.
    arguments: of that function, by name, beside learning_rate: {"momentum": 0.9, "nesterov": True}.
    weight_decay: at least 0; None leaves the optimiser's own default, 1e-4 of adamw, 0 of most.
    quadratic_learning_rate: of the quadratic parameters (`QuadraticParam`), which then have an
      optimiser of their own with the same arguments: a rate as learning_rate is, not a factor of it.
      None: the same for all.
    clip: the gradient, of all parameters together, is made no longer than this; 0 for any length.

  Returns:
    A transformation whose state is a tree of arrays. With quadratic_learning_rate its `init` takes a
    module's nnx.state, as `minibatch.quadratic_partition` says.

  Raises:
    InputError: no optimiser of that name; one that needs more than gradients and parameters; an
      argument that it does not take or a value that it refuses; a negative number.
  """
  make, parameters = _found(name)
  rates = {"learning_rate": learning_rate, "quadratic_learning_rate": quadratic_learning_rate}
  for what, number in (rates | {"weight_decay": weight_decay, "clip": clip}).items():
    if isinstance(number, str) or (isinstance(number, int | float) and not number >= 0):
      raise InputError(f"{what} must be a number of at least 0, got {number!r}")
  if weight_decay is not None and "weight_decay" in arguments:
    raise InputError(
      f"weight_decay is said twice, {weight_decay} and {arguments['weight_decay']} in the arguments of "
      f"{name}: say it once"
    )
  _check_arguments(f"the optimiser '{name}'", arguments, parameters, "learning_rate")

  def of_rate(rate: Rate) -> optax.GradientTransformation:
    return _with_decay(name, make, parameters, rate, dict(arguments), weight_decay)

  try:
    made = of_rate(learning_rate)
    _try_out(made)
    if quadratic_learning_rate is not None:
      made = quadratic_partition(of_rate(quadratic_learning_rate), made)
  except (TypeError, ValueError, AttributeError, AssertionError) as error:
    raise InputError(
      f"the optimiser '{name}' cannot be used with {dict(arguments) or 'its defaults'}: "
      f"{' '.join(str(error).split())}"
    ) from error
  if clip:
    made = optax.chain(optax.clip_by_global_norm(clip), made)
  return optax.with_extra_args_support(made)


def schedule(
  name: str,
  learning_rate: float,
  steps: int,
  *,
  warmup_steps: int = 0,
  arguments: Arguments = NO_ARGUMENTS,
) -> Schedule:
  """A schedule of optax by its name: step, from 0 -> rate.

  Args:
    name: as optax has it, without '_schedule' or '_decay' at its end: constant, linear, cosine,
      exponential, polynomial, warmup_cosine, cosine_onecycle. See `schedule_names`.
    learning_rate: the highest rate: optax's `peak_value` if it has one (its `init_value` is then 0), else
      its `init_value`.
    steps: of the whole training, at least 1: optax's `decay_steps` or `transition_steps`.
    warmup_steps: from 0 to below steps. So many steps the rate rises in a straight line from 0 to
      learning_rate; the schedule has the steps behind. A schedule with a warm-up of its own is told.
    arguments: of optax's function, by name: {"alpha": 0.1} of cosine, {"decay_rate": 0.01} of
      exponential. They go before what is filled in. `end_value` is 0 where optax has no default.

  Raises:
    InputError: no schedule of that name; an argument that it does not take, or one that it needs and
      that is missing; steps or warmup_steps out of range.

  >>> rate = schedule("cosine", 0.1, 100, warmup_steps=10)
  >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 55, 100)]
  [0.0, 0.05, 0.1, 0.05, 0.0]
  """
  known = _schedules()
  if not isinstance(name, str) or name not in known:
    raise InputError(_unknown("schedule", name, known))
  if steps < 1 or not 0 <= warmup_steps < steps:
    raise InputError(
      f"a schedule needs steps of at least 1 and warmup_steps from 0 to below that, got {steps} and "
      f"{warmup_steps}"
    )
  make = known[name]
  parameters = inspect.signature(make).parameters
  _check_arguments(f"the schedule '{name}'", arguments, parameters, "")
  if warmup_steps and "pct_start" in parameters:
    raise InputError(f"the schedule '{name}' warms up by its pct_start: let warmup_steps be 0")
  own_warmup = "warmup_steps" in parameters
  behind = steps if own_warmup and "decay_steps" in parameters else steps - warmup_steps
  filled = {"end_value": 0.0, "decay_steps": behind, "transition_steps": behind}
  filled |= {"warmup_steps": warmup_steps, "init_value": 0.0}
  filled[next(first for first in _FIRST_RATES if first in parameters)] = learning_rate
  needed = [key for key, p in parameters.items() if p.default is p.empty]
  given = {key: filled[key] for key in needed if key in filled} | dict(arguments)
  missing = [key for key in needed if key not in given]
  if missing:
    raise InputError(
      f"the schedule '{name}' needs {' and '.join(missing)}: give it in its arguments, "
      f"{missing[0]}=..."
    )
  # Optax's cosine with a warm-up of its own asks whether the rate is 0, which a traced one does not tell.
  unit = own_warmup and isinstance(learning_rate, jax.core.Tracer) and not arguments
  if unit:
    given["peak_value"] = 1.0
  try:
    made = make(**given)
    if unit:
      of_one = made
      made = lambda step: learning_rate * of_one(step)
    if warmup_steps and not own_warmup:
      ramp = optax.linear_schedule(0.0, learning_rate, warmup_steps)
      made = optax.join_schedules([ramp, made], [warmup_steps])
    jax.eval_shape(made, jnp.zeros((), jnp.int32))
  except (TypeError, ValueError, AttributeError) as error:
    raise InputError(
      f"the schedule '{name}' cannot be used with {dict(arguments)}: {' '.join(str(error).split())}"
    ) from error
  return made


def names() -> tuple[str, ...]:
  """The optimisers that can be had by name, optax's first; the installed optax decides."""
  found = []
  for module, prefix in ((optax, ""), (optax.contrib, _CONTRIB)):
    for name, make in vars(module).items():
      if _is_optimizer(name, make) and prefix + name not in _NEEDS:
        found.append(prefix + name)
  return tuple(sorted(found, key=lambda name: (name.startswith(_CONTRIB), name)))


def schedule_names() -> tuple[str, ...]:
  """The schedules that there are; the installed optax decides."""
  return tuple(sorted(_schedules()))


def _is_optimizer(name: str, make: Any) -> bool:
  if name.startswith(("_", "scale_by_")) or inspect.isclass(make) or not callable(make):
    return False
  try:
    return "learning_rate" in inspect.signature(make).parameters
  except ValueError:  # a type without a signature
    return False


def _schedules() -> dict[str, Callable[..., Schedule]]:
  found: dict[str, Callable[..., Schedule]] = {}
  for name, make in vars(optax).items():
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    if (
      ending
      and inspect.isfunction(make)
      and {*_FIRST_RATES} & {*inspect.signature(make).parameters}
    ):
      found[name.removesuffix(ending)] = make
  return found


def _found(name: str) -> tuple[Callable[..., Any], Mapping[str, inspect.Parameter]]:
  """The function of optax and its parameters."""
  if name in _NEEDS:
    raise InputError(
      f"the optimiser '{name}' needs {_NEEDS[name]} and cannot be had by its name; choose another, adam say"
    )
  known = names()
  if not isinstance(name, str) or name not in known:
    raise InputError(_unknown("optimiser", name, known))
  base = name.removeprefix(_CONTRIB)
  make = getattr(optax.contrib if base != name else optax, base)
  return make, inspect.signature(make).parameters


def _unknown(what: str, name: Any, known) -> str:
  known = sorted(known)
  near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
  # Someone who writes "muon" means contrib.muon.
  near = [k for k in known if k.split(".")[-1] == name] or near
  if near:
    return f"there is no {what} '{name}'; did you mean {' or '.join(near)}?"
  return f"there is no {what} '{name}'; choose one of {', '.join(known)}"


def _check_arguments(of: str, arguments: Arguments, parameters, own_field: str) -> None:
  takes = [key for key in parameters if key != own_field]
  for key in arguments:
    if key == own_field:
      raise InputError(
        f"{of} has its {own_field} from the field of that name, not from its arguments"
      )
    if key not in takes:
      raise InputError(f"{of} has no argument '{key}'; it takes {', '.join(takes) or 'none'}")


def _with_decay(name, make, parameters, rate, arguments, weight_decay):
  """The optimiser at a rate; see `optimizer` for its weight decay."""
  mask = next((key for key in _MASKS if key in parameters), None)
  if "weight_decay" in parameters and name not in _DECAYS_IN_PART:
    if weight_decay is not None:
      arguments["weight_decay"] = weight_decay
    if mask is not None:
      arguments.setdefault(mask, matrices)
  elif weight_decay is not None and not (
    isinstance(weight_decay, int | float) and weight_decay == 0
  ):
    taken_off = (
      (lambda step: -weight_decay * rate(step)) if callable(rate) else -weight_decay * rate
    )
    decay = optax.add_decayed_weights(taken_off, matrices)
    return optax.chain(make(learning_rate=rate, **arguments), decay)
  return make(learning_rate=rate, **arguments)


def matrices(params) -> Any:
  """True in the place of every parameter of two axes or more, which weight decay is for; else False."""
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _try_out(made: optax.GradientTransformation) -> None:
  """One step in the abstract: an optimiser that needs the loss too, say, raises here what it misses."""
  params = {"bias": jnp.zeros(2), "kernel": jnp.zeros((3, 2))}

  def step(params):
    return made.update(params, made.init(params), params)

  jax.eval_shape(step, params)
