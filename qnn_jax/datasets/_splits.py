"""Parses TFDS's notation of splits, such as "train[:90%]+test", to ranges of images.

TFDS has a parser, but importing it takes too long for data that are in the cache.
`tests/datasets/test_split_notation.py` compares the two.
"""

import re
from collections.abc import Mapping, Sequence

from qnn_jax.errors import InputError

Range = tuple[str, int, int]  # split, first image, last image + 1

_PART = re.compile(r"(?P<name>[\w-]+)(\[(?P<slice>[\w%:.-]+)\])?")
_BOUND = re.compile(r"((?P<value>-?\d+(\.\d+)?)(?P<unit>%|shard)?)?")
_FORMS = '"train", "train[:5000]", "train[90%:]" or "train+test"'


def parse(spec: str, shards: Mapping[str, Sequence[int]]) -> tuple[Range, ...]:
  """The ranges of images that a split's notation stands for.

  Percentages are rounded to the nearest image, as TFDS does by default.

  Args:
    spec: NAME, NAME[FROM:TO], or several of these joined by +; "all" stands for all splits. FROM and TO
      are numbers of images, percentages with %, or numbers of files with `shard`; negative numbers count
      from the end.
    shards: split -> the number of images in each of its files.

  Returns:
    (split, start, stop) of each part, in the order given; none is empty.

  Raises:
    InputError: the notation is wrong, the split does not exist, or it has no images.
  """
  if not isinstance(spec, str):
    raise InputError(f"split must be a string such as {_FORMS}, got {spec!r}")
  parts = re.split(r"\s*\+\s*", spec)
  names = [name for part in parts for name in (shards if part == "all" else (part,))]
  return tuple(_range(name, spec, shards) for name in names)


def _range(part: str, spec: str, shards: Mapping[str, Sequence[int]]) -> Range:
  matched = _PART.fullmatch(part)
  if not matched:
    raise InputError(f"split must be such as {_FORMS}, got {spec!r}")
  name, inner = matched["name"], matched["slice"]
  if name not in shards:
    raise InputError(f"split {spec!r}: there is no {name}, only {', '.join(shards) or 'nothing'}")
  lengths = shards[name]
  size = sum(lengths)
  start, stop = _bounds(inner, spec, lengths) if inner else (0, size)
  if max(abs(start), abs(stop)) > size:
    raise InputError(f"split {spec!r} reaches beyond the {size} images of {name}")
  start, stop = start + size * (start < 0), stop + size * (stop < 0)
  if start >= stop:
    raise InputError(f"split {spec!r} has no images: {part} is empty, {name} has {size}")
  return name, start, stop


def _bounds(inner: str, spec: str, lengths: Sequence[int]) -> tuple[int, int]:
  """Start and stop, which may be negative, from the text `inner` between the brackets."""
  bounds = [_BOUND.fullmatch(bound) for bound in inner.split(":")]
  units = {bound["unit"] for bound in bounds if bound and bound["value"]}
  one = len(bounds) == 1  # only allowed for shards
  if (
    not all(bounds) or not units or len(bounds) > 2 or len(units) > 1 or one and units != {"shard"}
  ):
    raise InputError(f"split must be such as {_FORMS}, got {spec!r}")
  values = [float(bound["value"]) if bound and bound["value"] else None for bound in bounds]
  (unit,) = units
  if unit != "%" and any(value is not None and value % 1 for value in values):
    raise InputError(f"split {spec!r}: only percentages may have a point")
  size = sum(lengths)
  start, stop = values[0] or 0.0, values[0] if one else values[1]
  if one:
    stop = (stop or 0.0) + 1
  if unit == "%":
    if max(abs(start), abs(stop or 0)) > 100:
      raise InputError(f"split {spec!r}: percentages must be from -100 to 100")
    of = lambda value: round(value * size / 100)
    return of(start), size if stop is None else of(stop)
  if unit == "shard":
    # As in TFDS: a stop of 0 is the end of the split, and a stop beyond the end is cut without an error.
    if stop is not None and stop <= 0:
      stop += len(lengths)
    return sum(lengths[: int(start)]), size if stop is None else sum(lengths[: int(stop)])
  return int(start), size if stop is None else int(stop)
