"""The notation of splits beside TFDS's own parser."""

import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn_jax.datasets import _splits
from qnn_jax.errors import InputError

SHARDS = {"train": (4, 4, 3), "test": (7,), "extra_1": (200, 1), "empty": ()}


def theirs(spec):
  """(split, start, stop) of each part, as TFDS understands it; ValueError if it does not."""
  template = tfds.core.ShardedFileTemplate(data_dir="x", filetype_suffix="array_record")
  infos = {
    name: tfds.core.SplitInfo(
      name=name, shard_lengths=list(lengths), num_bytes=0, filename_template=template
    )
    for name, lengths in SHARDS.items()
  }
  parts = tfds.core.ReadInstruction.from_spec(spec).to_absolute(infos)
  size = lambda name: sum(SHARDS[name])
  return tuple(
    (part.splitname, part.from_ or 0, size(part.splitname) if part.to is None else part.to)
    for part in parts
  )


SPECS = (
  "train", "test", "train[:5]", "train[5:]", "train[2:4]", "train[-3:]", "train[:-3]", "train[-5:-2]",
  "train[:50%]", "train[90%:]", "extra_1[:1%]", "extra_1[-33%:]", "extra_1[12.5%:87.5%]", "train[25%:75%]",
  "train+test", "train[:2]+test[3:] + extra_1", "train[:2shard]", "train[1shard]", "train[-1shard:]",
  "train[:-1shard]", "train[1shard:3shard]", "test[:7]", "test[-7:]", "train[0shard]", "train[2shard:]", "train[:4shard]",
)  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_as_tfds(spec):
  assert _splits.parse(spec, SHARDS) == theirs(spec)


def test_all():
  shards = {name: lengths for name, lengths in SHARDS.items() if lengths}
  assert _splits.parse("all", shards) == (("train", 0, 11), ("test", 0, 7), ("extra_1", 0, 201))


bounds = st.one_of(st.just(""), st.integers(-12, 12).map(str))
percents = st.one_of(st.just(""), st.integers(-101, 101).map(lambda value: f"{value}%"))
shards = st.one_of(st.just(""), st.integers(0, 3).map(lambda value: f"{value}shard"))


@given(
  st.sampled_from(["train", "test", "extra_1", "other"]),
  st.one_of(st.tuples(each, each) for each in (bounds, percents, shards)),
)
@settings(deadline=None, max_examples=300)
def test_any_slice_as_tfds(name, pair):
  spec = f"{name}[{pair[0]}:{pair[1]}]"
  try:
    expected = theirs(spec)
  # Whatever TFDS raises.
  except Exception:
    expected = ()
  if any(start >= stop for _, start, stop in expected):
    expected = ()  # An empty split, which TFDS finds when it is read.
  if expected:
    assert _splits.parse(spec, SHARDS) == expected
  else:
    with pytest.raises(InputError):
      _splits.parse(spec, SHARDS)


@pytest.mark.parametrize(
  "spec, reason",
  [
    ("", "split must be such as "),
    ("train[", "split must be such as "),
    ("train[5]", "split must be such as "),
    ("train[50%]", "split must be such as "),
    ("train[:]", "split must be such as "),
    ("train[::2]", "split must be such as "),
    ("train[5%:7]", "split must be such as "),
    ("train+", "split must be such as "),
    ("all[:5]", "there is no all, only train, test, extra_1, empty"),
    ("val", "there is no val, only train, test, extra_1, empty"),
    ("train[:12]", "reaches beyond the 11 images of train"),
    ("train[4shard:]", "has no images"),
    ("train[:101%]", "percentages must be from -100 to 100"),
    ("train[:2.5]", "only percentages may have a point"),
    ("train[3:3]", "has no images"),
    ("train[:1%]", "has no images"),
    ("empty", "has no images: empty is empty, empty has 0"),
    (3, "split must be a string such as "),
    (None, "split must be a string such as "),
  ],
  ids=str,
)
def test_what_is_wrong_is_told_in_a_sentence(spec, reason):
  with pytest.raises(InputError) as caught:
    _splits.parse(spec, SHARDS)
  assert reason in str(caught.value) and "\n" not in str(caught.value)
