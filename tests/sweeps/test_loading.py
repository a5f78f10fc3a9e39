"""Config files: Python and the JSON that every run writes, and a sentence for every fault."""

import json
import pathlib
import sys

import ml_collections
import pytest

from qnn_jax.errors import InputError
from qnn_jax.sweeps import configs

CONFIG = """
import ml_collections
from qnn_jax.errors import InputError

def get_config(preset=""):
  if preset not in ("", "small"):
    raise InputError(f"no preset '{preset}'")
  config = ml_collections.ConfigDict()
  config.rate = 0.01
  config.epochs = 2 if preset else 5
  config.hidden = (3, 4)
  config.nets = ml_collections.ConfigDict({"one": {"hidden": (1, 2), "kind": "ann"}})
  return config

def sweep_rates():
  return ({"rate": rate} for rate in (0.1, 0.2))

def sweep_nothing():
  return []

def sweep_wrong():
  return [0.1]
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "configs" / "mine.py"
  path.parent.mkdir()
  path.write_text(CONFIG)
  return path


def load(text, default=pathlib.Path("nowhere.py")):
  return configs.load(str(text), default)


def test_a_file_and_its_presets(file):
  assert load(file).epochs == 5
  assert load(f"{file}:small").epochs == 2
  with pytest.raises(InputError, match="^no preset 'fast'$"):
    load(f"{file}:fast")


def test_a_config_may_import_its_neighbours(file):
  (file.parent / "other.py").write_text(
    "from configs.table4 import get_config as base\n"
    "def get_config():\n  config = base()\n  config.seeds = 2\n  return config\n"
  )
  assert load(file.parent / "other.py").seeds == 2
  before = list(sys.path)
  (file.parent / "a_neighbour.py").write_text(CONFIG)
  (file.parent / "third.py").write_text("from a_neighbour import get_config\n")
  assert load(file.parent / "third.py").epochs == 5
  assert sys.path == before


@pytest.mark.parametrize(
  "content, told",
  [
    ("def get_config(:\n", ", line 1: invalid syntax; mend the file"),
    ("x = 1\n\ndef f(\n", ", line 3: '(' was never closed; mend the file"),
    ("x = 1\n", " has no function get_config, which returns the configuration"),
    ("get_config = 3\n", " has no function get_config"),
    (
      "def get_config():\n  return {'a': 1}\n",
      "must return an ml_collections.ConfigDict, got dict",
    ),
    ("def get_config():\n  pass\n", "must return an ml_collections.ConfigDict, got NoneType"),
    ("import nonesuch\n", "cannot be used (ModuleNotFoundError: No module named 'nonesuch')"),
    ("def get_config():\n  return 1 / 0\n", "cannot be used (ZeroDivisionError: division by zero)"),
    ("raise ValueError('a\\nb')\n", "cannot be used (ValueError: a b)"),
    ("\0", ""),
  ],
)
def test_a_file_that_makes_no_config_is_told_in_one_sentence(file, content, told):
  file.write_text(content)
  with pytest.raises(InputError) as error:
    load(file)
  assert str(file) in str(error.value) and told in str(error.value)
  assert "\n" not in str(error.value)


def test_a_preset_of_a_file_that_has_none(file):
  file.write_text("import ml_collections\nget_config = lambda: ml_collections.ConfigDict()\n")
  with pytest.raises(InputError, match="mine.py cannot be used .TypeError: "):
    load(f"{file}:small")


def test_a_file_that_is_not_there(file, tmp_path, monkeypatch):
  with pytest.raises(InputError, match="^no configuration file '.*nowhere.py'; name one with"):
    load(tmp_path / "nowhere.py")
  monkeypatch.chdir(tmp_path)
  with pytest.raises(InputError, match=f"no configuration file 'nowhere.py' in {tmp_path}; "):
    load("nowhere.py")
  with pytest.raises(InputError, match="no configuration file 'configs'"):
    load("configs")
  with pytest.raises(InputError, match=r"no configuration file 'nowhere.json' \(No such file"):
    load("nowhere.json", file)
  (tmp_path / "notes.txt").write_text("mine")
  with pytest.raises(InputError, match="notes.txt is no Python file; a configuration is FILE.py"):
    load("notes.txt")


def saved(file, values):
  path = file.parent / "config.json"
  path.write_text(values if isinstance(values, str) else json.dumps(values))
  return path


def test_a_saved_configuration_comes_back(file):
  config = load(f"{file}:small")
  config.hidden, config.rate = (7,), 1.0
  config.nets.two = {"hidden": (5,), "kind": "qnn"}
  del config.nets["one"]
  found = load(saved(file, config.to_dict()), file)
  assert found.to_dict() == config.to_dict()
  assert found.hidden == (7,) and isinstance(found.hidden, tuple)


def test_numbers_of_a_saved_configuration_have_their_type(file):
  found = load(saved(file, {"rate": 1, "hidden": [1, 2]}), file)
  assert isinstance(found.rate, float) and found.hidden == (1, 2)
  assert found.epochs == 5  # what is not said is as in the file


@pytest.mark.parametrize(
  "values, told",
  [
    ("{", "config.json is damaged, or no saved configuration"),
    ("", "config.json is damaged, or no saved configuration"),
    ("[1]", "config.json is no saved configuration: it must hold one JSON object"),
    ({"rates": 3}, "config.json has the field 'rates', which this experiment does not"),
    ({"rate": "x"}, "rate must be a number, as 0.01, got 'x'"),
    ({"epochs": 2.5}, "epochs must be a whole number, as 5, got 2.5"),
    ({"epochs": True}, "epochs must be a whole number, as 5, got True"),
    ({"hidden": 3}, "hidden must be a tuple such as (3, 4), got 3"),
    ({"hidden": ["a"]}, "hidden must be whole numbers, such as (3, 4), got ['a']"),
  ],
)
def test_a_saved_configuration_that_does_not_fit(file, values, told):
  with pytest.raises(InputError) as error:
    load(saved(file, values), file)
  assert told in str(error.value) and "\n" not in str(error.value)


def test_a_saved_configuration_has_no_presets(file):
  with pytest.raises(InputError, match="config.json is a saved configuration and has no preset"):
    load(f"{saved(file, {})}:small", file)


def test_named_sweeps(file):
  assert configs.named_sweep(file, "rates") == [{"rate": 0.1}, {"rate": 0.2}]
  with pytest.raises(
    InputError, match=r"no sweep 'x' \(a function sweep_x\); it has nothing, rates"
  ):
    configs.named_sweep(file, "x")
  for name in ("nothing", "wrong"):
    with pytest.raises(InputError, match=f"sweep_{name} of .* must return dicts of fields"):
      configs.named_sweep(file, name)
  file.write_text("")
  with pytest.raises(InputError, match="has no sweep 'x' .*; it has none$"):
    configs.named_sweep(file, "x")


def test_products_for_named_sweeps():
  assert configs.product(a=(1, 2), b="xy") == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]


def test_fields_have_dotted_names(file):
  assert configs.fields(load(file)) == {
    "rate": 0.01, "epochs": 5, "hidden": (3, 4), "nets.one.hidden": (1, 2), "nets.one.kind": "ann",
  }  # fmt: skip


def test_types_are_checked_where_fields_are_known():
  like = ml_collections.ConfigDict({"a": 1, "b": {"c": "x"}})
  configs.check_types(ml_collections.ConfigDict({"a": 2, "new": 1.5, "b": {"d": 3}}), like)
  with pytest.raises(InputError, match="b.c must be text, as 'x', got 3"):
    configs.check_types(ml_collections.ConfigDict({"b": {"c": 3}}), like)
