"""The cost of layers: compiles their phases for CPU and counts the compiled programs. Nothing is run."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from qnn_jax import complexity, ops
from qnn_jax.errors import InputError
from qnn_jax.ops import _quadratic
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row
from qnn_jax.sweeps.possible import COUNT, Possible, text, whole
from qnn_jax.sweeps.task import Event, Task

PHASES = ("forward", "backward", "update")
METRICS = ("formula", "counted", "flops", "bytes_formula", "bytes_kept", "bytes_scratch")

# The number of layers that one process compiles in about the time that another process takes to start.
_LAYERS_A_WORKER = 8


def quadratic_as_printed(x, q, kernel, bias):
  """`ops.quadratic` of one sample by V = A Q of (44) at every size.

  For large layers `ops.quadratic` splits Q into tiles (ops/_tiles.py). That is faster, but we would count the
  operations of the tiles.
  """
  plan = _quadratic.Plan(tiled=False)
  return _quadratic.by_closed_form(plan, x[None], q, kernel, bias)[0]


OPS: dict[str, Callable[..., jax.Array]] = {
  "ann": ops.affine,
  "qnn": quadratic_as_printed,
  "rpqnn": ops.reduced_quadratic,
}


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense."""
  wanted = {
    "sizes": ("at least one n", lambda values: len(values) > 0),
    "head": ("a pair, inputs and neurons", lambda values: len(values) == 2),
    "network": ("the sizes of at least two layers", lambda values: len(values) > 1),
  }
  checks.whole(config, *wanted)
  for name, (what, enough) in wanted.items():
    if not enough(config[name]):
      raise InputError(f"{name} must be {what}, got {tuple(config[name])}")
  checks.number(config, "learning_rate", above=0)
  # Nothing is run, but we count only programs that could run in the memory of this machine.
  for name, shapes in (("sizes", [(n, n) for n in config.sizes]), ("head", [config.head])):
    for n, m in shapes:
      needed = 4.0 * (complexity.ann_memory(n, m) + complexity.extra_memory("qnn", n, m))
      checks.memory(needed, f"a quadratic layer of {n:,} inputs and {m:,} neurons, of {name},")


def points(config: ml_collections.ConfigDict) -> Iterator[dict[str, Any]]:
  """One point per layer, model and phase. The phase `step` has all three others in one program."""
  for n, m in [tuple(config.head), *((n, n) for n in config.sizes)]:
    for model in OPS:
      for phase in (*PHASES, "step"):
        yield {"model": model, "n": n, "m": m, "phase": phase}


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """One group per layer and model: its phases share the work before compilation."""
  layers: dict[Point, list[Point]] = {}
  for point in missing:
    layers.setdefault(point.without("phase"), []).append(point)
  return [Group(tuple(of_layer), cost=len(of_layer)) for of_layer in layers.values()]


def run(group: Group, job: Job) -> Iterator[Event]:
  """Compiles the phases of one layer and counts their programs."""
  first = group.points[0]
  kind, n, m = first["model"], first["n"], first["m"]
  formula = complexity.layer(kind, n, m)
  expected = dict(zip(PHASES, formula), step=sum(formula))
  # The counts are those of CPU programs, even on a machine with an accelerator: see complexity.py.
  with jax.default_device(jax.devices("cpu")[0]):
    phases = tuple(point["phase"] for point in group.points)
    compiled = compile_phases(kind, n, m, first["learning_rate"], phases)
  rows = []
  for point in group.points:
    program: Any = compiled[point["phase"]]
    memory = program.memory_analysis()
    shared = memory.argument_size_in_bytes + memory.output_size_in_bytes
    counts = (
      expected[point["phase"]],
      complexity.count_multiplications(program.as_text()),
      int(program.cost_analysis()["flops"]),
      4 * (complexity.ann_memory(n, m) + complexity.extra_memory(kind, n, m)),
      shared - memory.alias_size_in_bytes,
      memory.temp_size_in_bytes,
    )
    rows.append(Row(point, dict(zip(METRICS, counts, strict=True))))
  yield rows


def compile_phases(
  kind: str, n: int, m: int, rate: float, phases: Sequence[str] = (*PHASES, "step")
) -> dict[str, jax.stages.Compiled]:
  """The phases of a layer, with shapes as arguments: no array is made. 'step' has all three in one."""
  op, f32 = OPS[kind], jnp.float32
  a, z = jax.ShapeDtypeStruct((n,), f32), jax.ShapeDtypeStruct((m,), f32)
  affine = (jax.ShapeDtypeStruct((n, m), f32), z)
  extra = {"ann": (), "qnn": (jax.ShapeDtypeStruct((ops.packed_size(n), m), f32),), "rpqnn": affine}
  params = (*extra[kind], *affine)

  def forward(params, a):
    return jax.vjp(op, a, *params)  # z, and in `pullback` what is cached for backpropagation

  def backward(pullback, delta, slope):
    return slope * pullback(delta)[0]  # slope is g'(z^{l-1})

  def update(params, pullback, delta):
    return jax.tree.map(lambda p, grad: p - rate * grad, params, pullback(delta)[1:])

  def step(params, a, delta, slope):
    out, pullback = forward(params, a)
    return update(params, pullback, delta), out, backward(pullback, delta, slope)

  _, pullback = jax.eval_shape(forward, params, a)
  lower = {
    "forward": lambda: jax.jit(forward).lower(params, a),
    "backward": lambda: jax.jit(backward).lower(pullback, z, a),
    "update": lambda: jax.jit(update, donate_argnums=0).lower(params, pullback, z),
    "step": lambda: jax.jit(step, donate_argnums=0).lower(params, a, z, a),
  }
  return {phase: lower[phase]().compile() for phase in phases}


def workers(wanted: Sequence[Point], cores: int) -> int:
  """One worker process for every few layers."""
  layers = len({point.without("phase") for point in wanted})
  return min(cores, math.ceil(layers / _LAYERS_A_WORKER))


TASK = Task(
  "complexity",
  {"models": "model", "sizes": "n", "head": "m", "phases": "phase"},
  run,
  groups=groups,
  points=points,
  apart=("network",),
  workers=workers,
  possible=Possible(
    metrics=dict.fromkeys(METRICS, COUNT),
    axes={"model": text(*OPS), "n": whole(1), "m": whole(1), "phase": text(*PHASES, "step")},
    statuses=("ok",),
  ),
)
