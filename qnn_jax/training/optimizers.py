"""Optax's optimisers and schedules by name, for configs and command lines."""

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

Schedule = Callable[[Any], Any]
"""step -> learning rate, as in optax."""
Rate = float | jax.Array | Schedule
"""A learning rate: a number, a scalar array, or a schedule."""
Arguments = Mapping[str, Any]
"""Arguments of a function of optax, by name."""
NO_ARGUMENTS: Arguments = MappingProxyType({})
"""No arguments."""

_CONTRIB = "contrib."
# Optimisers that need more than gradients and parameters, with what they need.
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
# Their own weight decay leaves out the parameters that they update by Adam: all but matrices.
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
  """Makes an optimiser of optax by its name.

  Only matrices (parameters with two or more axes) have weight decay, never biases or scales. If the
  optimiser has an argument for weight decay, the argument is passed on, and optax's page says what the
  optimiser does with it. For all others the decay is decoupled, as in AdamW: each step subtracts
  learning_rate * weight_decay times the parameter. A few optimisers have the argument but no mask for it
  (novograd; contrib.madgrad, dadapt_adamw, prodigy): these decay all parameters.

  Args:
    name: a function of optax with an argument `learning_rate`, such as "adamw" or "sgd"; or "contrib."
      and a function of optax.contrib, such as "contrib.muon". See `names`.
    learning_rate: a number, a scalar array, or a `schedule`.
    arguments: further arguments of that function, by name: {"momentum": 0.9, "nesterov": True}.
    weight_decay: a scalar of at least 0. None keeps the optimiser's default: 1e-4 for adamw, 0 for most.
    quadratic_learning_rate: the learning rate of the quadratic parameters (`QuadraticParam`), which then
      have their own optimiser with the same arguments. It is a rate like learning_rate, not a factor. With
      None all parameters have the same rate.
    clip: a gradient whose global norm is larger than this is scaled down to it; 0 for no clipping.

  Returns:
    A transformation whose state is a tree of arrays. With quadratic_learning_rate its `init` needs a
    module's nnx.state, see `minibatch.quadratic_partition`.

  Raises:
    InputError: no optimiser has that name; it needs more than gradients and parameters; it does not have
      an argument, or refuses its value; or a number is negative.
  """
  make, parameters = _found(name)
  rates = {"learning_rate": learning_rate, "quadratic_learning_rate": quadratic_learning_rate}
  for what, number in (rates | {"weight_decay": weight_decay, "clip": clip}).items():
    if isinstance(number, str) or (isinstance(number, int | float) and not number >= 0):
      raise InputError(f"{what} must be a number of at least 0, got {number!r}")
  if weight_decay is not None and "weight_decay" in arguments:
    raise InputError(
      f"weight_decay is given twice, as {weight_decay} and as {arguments['weight_decay']} in the arguments "
      f"of {name}: give it once"
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
  """Makes a learning-rate schedule of optax by its name: step (from 0) -> learning rate.

  Args:
    name: optax's name without '_schedule' or '_decay' at the end: constant, linear, cosine, exponential,
      polynomial, warmup_cosine, cosine_onecycle. See `schedule_names`.
    learning_rate: the highest rate, a number or a scalar array. It becomes optax's `peak_value` if there
      is one (`init_value` is then 0), else its `init_value`.
    steps: the steps of the whole training, at least 1: optax's `decay_steps` or `transition_steps`.
    warmup_steps: at least 0 and below steps. For so many steps the rate rises linearly from 0 to
      learning_rate; the schedule gets the steps after them. If the schedule has its own warm-up, the
      number is passed to it.
    arguments: further arguments of optax's function, by name: {"alpha": 0.1} for cosine,
      {"decay_rate": 0.01} for exponential. They override the values above. `end_value` is 0 if optax has
      no default.

  Raises:
    InputError: no schedule has that name; it does not have an argument, or a required argument is
      missing; steps or warmup_steps are out of range.

  >>> rate = schedule("cosine", 0.1, 100, warmup_steps=10)
  >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 55, 100)]
  [0.0, 0.05, 0.1, 0.05, 0.0]
  """
  known = _schedules()
  if not isinstance(name, str) or name not in known:
    raise InputError(_unknown("schedule", name, known))
  if steps < 1 or not 0 <= warmup_steps < steps:
    raise InputError(
      f"a schedule needs steps of at least 1, and warmup_steps from 0 to below steps, got {steps} "
      f"and {warmup_steps}"
    )
  make = known[name]
  parameters = inspect.signature(make).parameters
  _check_arguments(f"the schedule '{name}'", arguments, parameters, "")
  if warmup_steps and "pct_start" in parameters:
    raise InputError(f"the schedule '{name}' has its own warm-up, pct_start: set warmup_steps to 0")
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
  # Optax's cosine with its own warm-up compares the rate with 0, which fails for a traced rate.
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
  """The names of all optimisers in the installed optax, those of optax.contrib last."""
  found = []
  for module, prefix in ((optax, ""), (optax.contrib, _CONTRIB)):
    for name, make in vars(module).items():
      if _is_optimizer(name, make) and prefix + name not in _NEEDS:
        found.append(prefix + name)
  return tuple(sorted(found, key=lambda name: (name.startswith(_CONTRIB), name)))


def schedule_names() -> tuple[str, ...]:
  """The names of all schedules in the installed optax."""
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
      f"the optimiser '{name}' needs {_NEEDS[name]} and cannot be used by its name; choose another, such as adam"
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
        f"{of} takes its {own_field} from the field of that name; remove it from the arguments"
      )
    if key not in takes:
      raise InputError(f"{of} has no argument '{key}'; it takes {', '.join(takes) or 'none'}")


def _with_decay(name, make, parameters, rate, arguments, weight_decay):
  """The optimiser with a learning rate; see `optimizer` for its weight decay."""
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
  """A mask for weight decay: True in `params` for every parameter with two axes or more, else False."""
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _try_out(made: optax.GradientTransformation) -> None:
  """Traces one step: an optimiser that needs more, for example the loss, raises its error here."""
  params = {"bias": jnp.zeros(2), "kernel": jnp.zeros((3, 2))}

  def step(params):
    return made.update(params, made.init(params), params)

  jax.eval_shape(step, params)
