"""Loads the trained model of a point from a workdir whose config had keep_params."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from qnn_jax import models
from qnn_jax.errors import InputError
from qnn_jax.sweeps import arrays, damage
from qnn_jax.sweeps.configs import fields
from qnn_jax.sweeps.damage import Damaged, Unreadable
from qnn_jax.sweeps.points import Fields
from qnn_jax.sweeps.records import FORMAT
from qnn_jax.sweeps.store import rank, read_all


def load_model(workdir: str | os.PathLike, /, **point: Any) -> nnx.Module:
  """The trained module of one point of a sweep that ran with --config.keep_params.

  Args:
    workdir: the workdir of the sweep.
    **point: values of axes and fields that only this point has: model="qnn", train_size=600, epochs=20,
      hidden=10, seed=3, and for example learning_rate=0.02 if that was swept.

  Returns:
    A `Classifier`, `Mlp` or `ConvNet`, or a single layer if the experiment trains one.

  Raises:
    InputError: no point with kept parameters has these values, or several have.
  """
  workdir = pathlib.Path(workdir)
  found: dict[tuple[Fields, tuple], tuple[tuple, str, int, dict]] = {}
  names: set[str] = set()
  for name, record in read_all(workdir):
    if not record["params"]:
      continue
    shared = Fields(record["fields"])
    for place, row in enumerate(record["rows"]):
      values = fields(shared.values) | dict(zip(record["axes"], row))
      names |= values.keys()
      if all(key in values and _same(values[key], wanted) for key, wanted in point.items()):
        key, of_record = (shared, tuple(row[: len(record["axes"])])), rank(record, name)
        if key not in found or found[key][0] <= of_record:
          found[key] = of_record, name, place, values
  if not names:
    raise InputError(f"{workdir} keeps no parameters; run the sweep with --config.keep_params")
  if not found:
    unknown = [key for key in point if key not in names]
    why = f"there is no field '{unknown[0]}'" if unknown else "none has these values"
    raise InputError(f"{workdir} keeps no point with {_text(point)}: {why}")
  if len(found) > 1:
    every = [values for *_, values in found.values()]
    differ = sorted(k for k in every[0] if any(v.get(k) != every[0][k] for v in every))
    raise InputError(
      f"{len(found)} points in {workdir} have {_text(point)}; say which by {', '.join(differ)}"
    )
  ((_, name, place, _),) = found.values()
  path = workdir / "params" / f"{name}.npz"
  again = "the same sweep, run again, trains its points again"
  try:
    content = arrays.read_tree(path, [[place]])
  except Damaged as error:
    damage.set_aside(workdir, path, error, again)
    raise InputError(f"{path} is damaged ({error}); {again}") from error
  except Unreadable as error:
    raise InputError(f"{path} cannot be read ({error})") from error
  if content is None:
    raise InputError(f"{path} is missing; {again}")
  header, params = content
  if header.get("format") != FORMAT or place >= len(header.get("points", ())):
    raise InputError(
      f"{path} is of another format, or not what its record says; train the point again"
    )
  return module_of(header["points"][place][1], params)


def module_of(network: Mapping[str, Any], params: Any) -> nnx.Module:
  """The module that a `network` of `Row.network` describes, with these `params`.

  A description has either 'layer', a head's name, with in_features and out_features; or 'kind' and the
  other entries of `models.described`; or the arguments of `models.Classifier`. 'dtype' is the dtype of
  the parameters.
  """
  described = dict(network)
  dtype = jnp.dtype(described.pop("dtype", "float32"))
  if "layer" in described:
    make = lambda: models.make_layer(
      described["layer"], described["in_features"], described["out_features"],
      param_dtype=dtype, rngs=nnx.Rngs(0),
    )  # fmt: skip
  elif "kind" in described:
    shape, classes = described.pop("image_shape"), described.pop("classes")
    described_network = models.Network(**described)
    make = lambda: models.build(
      described_network, shape, classes, param_dtype=dtype, rngs=nnx.Rngs(0)
    )
  else:
    as_given: dict[str, Any] = {
      k: tuple(v) if isinstance(v, list) else v for k, v in described.items()
    }
    make = lambda: models.Classifier(**as_given, param_dtype=dtype, rngs=nnx.Rngs(0))
  graphdef, state = nnx.split(nnx.eval_shape(make))
  paths = lambda tree: [path for path, _ in jax.tree.leaves_with_path(tree)]
  if paths(nnx.to_pure_dict(state)) == paths(params):
    return nnx.merge(graphdef, params)
  module = make()  # with new random keys, of dropout for example: they are not saved
  nnx.update(module, params)
  return module


def _same(value, wanted):
  return bool(np.array_equal(value, wanted)) if isinstance(value, list) else value == wanted


def _text(point):
  return ", ".join(f"{k} = {v!r}" for k, v in point.items()) or "nothing said of it"
