"""Counts the operations of a compiled accelerator program in the text of its optimised HLO."""

import collections
import re
from typing import NamedTuple

# Instructions that only rename data, or that are never launched on a device.
_FREE = {
  "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call",
  "after-all", "copy-done", "slice-done", "async-done", "partition-id", "opt-barrier", "add-dependency",
}  # fmt: skip
_COLLECTIVES = (
  "all-gather", "all-reduce", "all-to-all", "collective-permute", "collective-broadcast", "reduce-scatter",
  "ragged-all-to-all",
)  # fmt: skip
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|\w+_computations?)=(%?[\w.\-]+|\{[^}]*\})")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")


class Counted(NamedTuple):
  """The counts of one call of a program.

  Attributes:
    launches: the number of operations that are launched on the device.
    kernels: how many of them are Pallas kernels.
    collectives: how many of them are exchanges between devices.
    trips: the number of iterations of each loop, in the order of the text; None if unknown, and then counted once.
    cycles: XLA's own estimate for TPUs, without the cycles in Pallas kernels; 0 on other devices.
  """

  launches: int
  kernels: int
  collectives: int
  trips: list[int | None]
  cycles: int


def count(text: str) -> Counted:
  """Counts the operations of one call: loops as often as they run, and the longest of several branches."""
  computations: dict[str, list[str]] = {}
  entry, lines = "", []
  for line in text.splitlines():
    if match := _COMPUTATION.match(line):
      lines = computations.setdefault(match.group(2), [])
      entry = match.group(2) if match.group(1) else entry
    elif line.startswith("  "):
      lines.append(line)
  trips: list[int | None] = []
  found = _of(entry, computations, trips)
  of = lambda name: found.get(name, 0)
  return Counted(of("launches"), of("kernels"), of("collectives"), trips, of("cycles"))


def _add(total, more, times=1):
  for name, value in more.items():
    total[name] += value * times


def _trips(line, computations) -> int | None:
  """The iterations of a loop: XLA's number, or else the only constant in its condition (loops count from 0)."""
  known = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
  if known:
    return int(known.group(1))
  condition = re.search(r"condition=%?([\w.\-]+)", line)
  text = "\n".join(computations.get(condition.group(1), ())) if condition else ""
  numbers = re.findall(r"s32\[\]\S* constant\((\d+)\)", text)
  return int(numbers[0]) if len(numbers) == 1 else None


def _kind(line):
  """The kind of an instruction `%name = type kind(...)`, where the type may be a tuple of types."""
  _, equals, rest = line.partition(" = ")
  if not equals:
    return ""
  if rest.startswith("("):
    depth = 0
    for i, character in enumerate(rest):
      depth += (character == "(") - (character == ")")
      if not depth:
        rest = rest[i:]
        break
  found = re.match(r"\S+ ([\w\-]+)\(", rest)
  return found.group(1) if found else ""


def _exchanges(name: str, computations: dict[str, list[str]]) -> int:
  """The exchanges in a computation and in all computations that it calls, each counted once."""
  return sum(_exchanges_of(line, computations) for line in computations.get(name, ()))


def _exchanges_of(line: str, computations: dict[str, list[str]]) -> int:
  """The exchanges of an instruction: itself, or those in what it calls, such as a fusion or an async-start."""
  kind = _kind(line)
  if kind.removesuffix("-start") in _COLLECTIVES:
    return 1
  if kind.endswith(("-done", "-update")):
    return 0  # counted at its start instruction
  called = _CALLED.findall(line)
  return sum(_exchanges(name, computations) for name in re.findall(r"[\w.\-]+", " ".join(called)))


def _of(name: str, computations: dict[str, list[str]], trips: list[int | None]) -> dict[str, int]:
  total: dict[str, int] = collections.defaultdict(int)
  for line in computations[name]:
    kind = _kind(line)
    if not kind:
      continue
    if kind == "while":
      often = _trips(line, computations)
      trips.append(often)
      body = re.search(r"body=%?([\w.\-]+)", line)
      inside = _of(body.group(1), computations, trips) if body else {}
      _add(total, inside, 1 if often is None else often)
      if condition := re.search(r"condition=%?([\w.\-]+)", line):
        total["collectives"] += _exchanges(condition.group(1), computations) * (often or 1)
    elif kind == "conditional":
      several = re.search(r"branch_computations=\{([^}]*)\}", line)
      names = re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", line)
      names += re.findall(r"[\w.\-]+", several.group(1)) if several else []
      inner = [_of(n, computations, trips) for n in names]
      longest = max(inner, key=lambda c: c.get("launches", 0)) if inner else {}
      # Exchanges are counted in every branch, so that none is missed.
      most = max((c.get("collectives", 0) for c in inner), default=0)
      _add(total, longest | {"collectives": most})
    elif kind == "call":
      target = re.search(r"to_apply=%?([\w.\-]+)", line)
      _add(total, _of(target.group(1), computations, trips) if target else {})
    if kind in _FREE or kind.endswith("-done"):
      continue
    custom = re.search(r'custom_call_target="([^"]+)"', line)
    if custom and custom.group(1) in ("AssumeGatherIndicesInBound", "ConcatBitcast"):
      continue  # hints to the compiler
    total["launches"] += 1
    total["kernels"] += bool(
      custom and custom.group(1) in ("__gpu$xla.gpu.triton", "tpu_custom_call")
    )
    total["collectives"] += _exchanges_of(line, computations)
    cycles = re.search(r'estimated_cycles":"(\d+)"', line)
    total["cycles"] += int(cycles.group(1)) if cycles else 0
  return total
