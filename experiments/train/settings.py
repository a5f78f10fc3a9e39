"""A run's settings: the values of its point by name, and what the compiled program depends on."""

import ast
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from qnn_jax.errors import InputError
from qnn_jax.models import Network
from qnn_jax.sweeps.points import Point

# Fields that are arguments of a compiled program: a sweep over them compiles once.
RATES = ("learning_rate", "quadratic_learning_rate", "weight_decay")

# Fields that change no result, so that they are no part of a run's identity: field -> its value where a workdir
# has none.
APART = {"log_every": 0, "checkpoint_seconds": 30.0, "loaders": 2}

_OF_NETWORK = ("channels", "hidden", "head", "kernel_size", "activation", "parameters")
_OF_PROGRAM = (
  *("dtype", "loss", "label_smoothing", "optimizer", "optimizer_arguments", "schedule"),
  *("schedule_arguments", "warmup_steps", "clip", "batch_size", "input_shift"),
)


@dataclasses.dataclass(frozen=True)
class Shape:
  """What a program depends on: everything except the seed, the rates and the data.

  Attributes:
    network: the layers of the network.
    image_shape: (height, width, channels) of an image.
    classes: the number of classes.
    steps: the steps of the whole training, for the schedule.
    quadratic_rate: whether quadratic parameters have a learning rate of their own.
    decays: whether there is a weight decay.
    fields: the config's fields `_OF_PROGRAM`, by name, in order.
  """

  network: Network
  image_shape: tuple[int, ...]
  classes: int
  steps: int
  quadratic_rate: bool
  decays: bool
  fields: tuple[tuple[str, Any], ...]

  def __getitem__(self, name: str) -> Any:
    return dict(self.fields)[name]


def values_of(point: Point) -> dict[str, Any]:
  """Fields and axes of a point by name."""
  return {**point.fields.values, **point.axes()}


def apart_of(workdir: pathlib.Path) -> dict[str, Any]:
  """The values of `APART` in the workdir's config.json. They are not part of a point."""
  try:
    config = json.loads((workdir / "config.json").read_text("utf-8"))
  except (OSError, ValueError):
    config = {}
  return {name: config.get(name, value) for name, value in APART.items()}


def network_of(values: Mapping[str, Any]) -> Network:
  """The network that these fields describe."""
  plain = {name: _hashable(values[name]) for name in _OF_NETWORK}
  kinds = {
    "hidden_kind": _one_or_all(values["hidden_kinds"]),
    "conv_kind": _one_or_all(values["conv_kinds"]),
  }
  if values["network"] == "mlp":
    plain["channels"] = ()
  return Network(kind=values["network"], **plain, **kinds)


def shape_of(
  values: Mapping[str, Any], image_shape: tuple[int, ...], classes: int, steps: int
) -> Shape:
  """The `Shape` of a run: what its program depends on."""
  return Shape(
    network_of(values),
    image_shape,
    classes,
    steps,
    values["quadratic_learning_rate"] > 0,
    values["weight_decay"] > 0,
    tuple((name, _hashable(values[name])) for name in _OF_PROGRAM),
  )


def arguments(name: str, text: str) -> dict[str, Any]:
  """'momentum=0.9, nesterov=True' as a dict; InputError, naming the field, for anything else."""
  if not isinstance(text, str):
    raise InputError(f"{name} must be text such as 'momentum=0.9, nesterov=True', got {text!r}")
  try:
    call: Any = ast.parse(f"f({text})", mode="eval").body
    names = [keyword.arg for keyword in call.keywords]
    # "a=1)(b=2" would be two calls, and a name may occur only once.
    if (
      not isinstance(call.func, ast.Name)
      or call.args
      or None in names
      or len(set(names)) < len(names)
    ):
      raise ValueError
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
  except (SyntaxError, ValueError, AttributeError, RecursionError, MemoryError):
    raise InputError(
      f"{name} must be arguments such as 'momentum=0.9, nesterov=True', got {text!r}"
    ) from None


def _one_or_all(kinds):
  return kinds[0] if len(kinds) == 1 else tuple(kinds)


def _hashable(value):
  return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value
