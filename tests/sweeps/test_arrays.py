"""Trees of arrays on disk: what is written is read, and nothing that is read runs code."""

import io
import json
import pickle
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.sweeps import arrays
from qnn_jax.sweeps.damage import Damaged

TREES = {
  "numbers and text as keys": {"layers": {0: {"kernel": np.ones((2, 3))}, 10: {"q": np.zeros(1)}}},
  "lists": [{"a": np.arange(3)}, [np.ones(2), np.zeros(())], {"b": [np.ones(1)]}],
  "a list of more than ten": [np.full(1, i) for i in range(12)],
  "an array alone": np.arange(4.0),
  "dtypes": {
    "bfloat16": jnp.array([1.5, -2.0, jnp.nan], jnp.bfloat16),
    "float8": jnp.array([1.5, 2.0], jnp.float8_e4m3fn),
    "int32": np.arange(3, dtype=np.int32),
    "bool": np.array([True, False]),
    "float16": np.array([1.5], np.float16),
    "scalar": np.float64(3.0),
  },
  "text that looks like a number": {"0": np.ones(1), "x": np.zeros(1)},
}


@pytest.fixture
def warnings(monkeypatch):
  told = []
  read_tree = arrays.read_tree

  def read(path, within=None):
    """None, and the reason noted, where it is damaged."""
    try:
      return read_tree(path, within)
    except Damaged as error:
      told.append(f"{path} is damaged ({error})")

  monkeypatch.setattr(arrays, "read_tree", read)
  return told


@pytest.mark.parametrize("name", TREES)
def test_a_tree_comes_back(tmp_path, warnings, name):
  path, tree = tmp_path / "below" / "tree.npz", TREES[name]
  arrays.write_tree(path, tree, {"step": 3, "lanes": ["a"]})
  header, found = arrays.read_tree(path, [])
  assert header == {"step": 3, "lanes": ["a"]}
  assert jax.tree.structure(found) == jax.tree.structure(tree)
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(tree)):
    theirs = np.asarray(theirs)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()
  assert arrays.read_tree(path) == (header, None)
  assert warnings == []


def test_a_part_is_read_alone(tmp_path):
  path = tmp_path / "tree.npz"
  arrays.write_tree(path, [{"w": np.full(1, i)} for i in range(3)], {})
  assert arrays.read_tree(path, [[1]])[1] == {"w": 1}
  assert arrays.read_tree(path, [[1], "w"])[1] == 1


def test_what_is_gone_is_no_damage(tmp_path, warnings):
  assert arrays.read_tree(tmp_path / "gone.npz", []) is None
  assert warnings == []


class Bomb:
  exploded = False

  def __reduce__(self):
    return explode, ()


def explode():
  Bomb.exploded = True


@pytest.mark.parametrize("member", ("header", "0"))
def test_no_pickle_is_ever_loaded(tmp_path, warnings, member):
  path = tmp_path / "tree.npz"
  arrays.write_tree(path, {"w": np.ones(2)}, {"step": 3})
  crafted = io.BytesIO()
  np.lib.format.write_array(crafted, np.array([Bomb()], object), allow_pickle=True)
  with zipfile.ZipFile(path) as file:
    members = {name: file.read(name) for name in file.namelist()}
  assert f"{member}.npy" in members
  with zipfile.ZipFile(path, "w") as file:
    for name, content in (members | {f"{member}.npy": crafted.getvalue()}).items():
      file.writestr(name, content)
  with np.load(path, allow_pickle=True) as file:  # what a careless reader would have done
    file[member]
  assert Bomb.exploded
  Bomb.exploded = False
  assert arrays.read_tree(path, []) is None
  assert not Bomb.exploded
  (warning,) = warnings
  assert str(path) in warning and "is damaged" in warning


@pytest.mark.parametrize(
  "content",
  [pickle.dumps({"header": 3}), b"", b"PK\x03\x04", b"\x93NUMPY"],
  ids=("a pickle", "empty", "half a zip", "an array"),
)
def test_what_is_no_such_file_is_damaged(tmp_path, warnings, content):
  path = tmp_path / "tree.npz"
  path.write_bytes(content)
  assert arrays.read_tree(path, []) is None
  assert len(warnings) == 1


@pytest.mark.parametrize(
  "text",
  [
    {"header": {}, "paths": [["w"], ["v"]], "dtypes": ["float64", "float64"]},  # no such array
    {"header": {}, "paths": [["w"]], "dtypes": []},
    {"header": {}, "paths": [["w"]], "dtypes": ["nonesuch"]},
    {"header": {}, "paths": [["w"]], "dtypes": ["__loader__"]},
    {"header": {}},
    [],
  ],
)
def test_a_header_that_belongs_to_other_arrays_is_damaged(tmp_path, warnings, text):
  path = tmp_path / "tree.npz"
  header = np.frombuffer(json.dumps(text).encode(), np.uint8)
  np.savez(path, header=header, **{"0": np.ones(2)})
  assert arrays.read_tree(path, []) is None
  assert len(warnings) == 1


def test_whichever_bit_is_flipped_it_is_damaged_or_the_same(tmp_path, warnings):
  path, tree = tmp_path / "tree.npz", {"w": np.ones(2)}
  arrays.write_tree(path, tree, {"step": 3})
  content = path.read_bytes()
  for place, byte in enumerate(content):
    path.write_bytes(content[:place] + bytes([byte ^ 1 << place % 8]) + content[place + 1 :])
    found = arrays.read_tree(path, [])
    assert found is None or found[0] == {"step": 3} and (found[1]["w"] == 1).all()
  assert len(warnings) > len(content) / 2
