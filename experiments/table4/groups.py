"""Which runs of Table 4 are trained together: all nets of a lane (a seed with its rate and start) and size."""

import collections
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections

from experiments.table4.paper import Cell, cell_order
from qnn_jax.sweeps.points import Group, Point, in_parts
from qnn_jax.training import devices

AXES = {
  "train_sizes": "train_size", "epochs": "epochs", "hidden": "hidden", "models": "model",
  "seeds": "seed",
}  # fmt: skip

# The fewest lanes that a worker should get. Sixteen lanes fill a vector register, but fewer still pay, because
# matrix products and heads share a core's caches. Measured on two cores only.
_LANES_A_WORKER = 4

# More lanes per device in one program do not reduce the time per lane, and their state exceeds the caches.
# Measured on two cores; an accelerator takes all lanes at once.
_LANES_AT_ONCE = 13

# The fields in which lanes of one program may differ. All other fields belong to the program.
OF_A_LANE = ("learning_rate", "init", "init_scale")


def points(config: ml_collections.ConfigDict) -> Iterator[dict[str, Any]]:
  """Every run, in the order of results.csv: small sizes first, models as in the paper."""
  rank = lambda model: cell_order(Cell(0, 0, 0, model))
  lists = (
    sorted(config.train_sizes), sorted(config.epochs), sorted(config.hidden),
    sorted(config.models, key=rank), range(config.seeds),
  )  # fmt: skip
  for values in itertools.product(*lists):
    yield dict(zip(AXES.values(), values))


def lane_of(point: Point) -> Point:
  """The point of a lane: what its runs have in common, without the net and the number of epochs."""
  return point.without("epochs", "hidden", "model")


class _Work(NamedTuple):
  """The runs that a lane still lacks. Lanes that lack the same runs are trained together."""

  size: int
  program: str
  nets: tuple[tuple[int, str], ...]  # (hidden, model)
  eval_epochs: tuple[int, ...]


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """Groups of lanes that lack the same runs, about `parts` groups per size, small sizes first."""
  of_lane: dict[Point, list[Point]] = collections.defaultdict(list)
  for point in missing:
    of_lane[lane_of(point)].append(point)
  alike: dict[_Work, list[Point]] = collections.defaultdict(list)
  programs: dict[Any, str] = {}
  for lane, of in of_lane.items():
    if lane.fields not in programs:
      programs[lane.fields] = program_text(lane.fields.values)
    nets = tuple(sorted({(p["hidden"], p["model"]) for p in of}, key=net_order))
    eval_epochs = tuple(sorted({p["epochs"] for p in of}))
    alike[_Work(lane["train_size"], programs[lane.fields], nets, eval_epochs)].append(lane)
  found = []
  for size in sorted({work.size for work in alike}):
    of_size = {work: lanes for work, lanes in alike.items() if work.size == size}
    share = math.ceil(sum(map(len, of_size.values())) / parts)
    if jax.default_backend() == "cpu":
      share = math.ceil(share / math.ceil(share / (_LANES_AT_ONCE * devices.count())))
    of_this = [
      _group(work, part, of_lane)
      for work, lanes in of_size.items()
      for part in in_parts(lanes, math.ceil(len(lanes) / share))
    ]
    found += sorted(of_this, key=lambda group: -group.cost)
  return found


def _group(work, lanes, of_lane):
  mine = tuple(point for lane in lanes for point in of_lane[lane])
  cost = work.size * work.eval_epochs[-1] * len(lanes) * sum(hidden for hidden, _ in work.nets)
  program = f"{work.program} {work.nets} {len(lanes)}"
  return Group(mine, cost=cost, program=program, title=_title(work, lanes))


def _title(work, lanes):
  seeds = sorted({lane["seed"] for lane in lanes})
  which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
  settings = len({lane.fields for lane in lanes})
  others = f", {settings} settings" if settings > 1 else ""
  epochs = "/".join(map(str, work.eval_epochs))
  more = [n for n in lanes[0].names if n not in ("train_size", "seed")]  # a recipe, say
  named = [", ".join(dict.fromkeys(str(lane[name]) for lane in lanes)) for name in more]
  first = f"{work.size:,} samples, {epochs} epochs, {len(work.nets)} nets, {which}{others}"
  return "; ".join([first, *named])


def net_order(net: tuple[int, str]) -> tuple:
  """Sort key of (hidden, model) that gives the order of the table."""
  hidden, model = net
  return hidden, cell_order(Cell(0, 0, 0, model))


def program_text(values: dict[str, Any]) -> str:
  """The fields that a compiled program depends on, as JSON: all except those of a lane."""
  return json.dumps({k: v for k, v in values.items() if k not in OF_A_LANE}, sort_keys=True)


def default_workers(wanted: Sequence[Point], cores: int) -> int:
  """The fastest number of processes: one per core, each with its own lanes.

  One process per core runs the many small operations of a step without waiting for another core.
  """
  lanes = len({lane_of(point).without("train_size") for point in wanted})
  return max(1, min(cores, math.ceil(lanes / _LANES_A_WORKER)))
