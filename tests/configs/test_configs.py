"""Every configuration loads, with every preset it names, and names a command that is one."""

import importlib
import json
import pathlib
import re
import shlex

import ml_collections
import pytest
import shell_commands

from qnn_jax.errors import InputError

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__")

every_config = pytest.mark.parametrize("name", NAMES)


def load(name):
  return importlib.import_module(f"configs.{name}")


def docstring(name):
  return load(name).__doc__


def presets(name):
  """Those the docstring names, in a command or as `preset`, and none."""
  text = docstring(name)
  quoted = re.search(r"[Pp]reset (?:`|')(\w+)", text)
  return {"", *re.findall(rf"configs/{name}\.py:(\w+)", text), *(quoted.groups() if quoted else ())}


def commands(name):
  """The arguments of every command in the docstring: of `python -m experiments.NAME` and make."""
  lines = [line.split("#")[0] for line in docstring(name).splitlines() if line.startswith("  ")]
  found = []
  for line in lines:
    # Two spaces or more end a command; what follows says what it is for.
    words = shlex.split(re.split(r"\s{2,}", line.strip())[0])
    if words[:2] == ["python", "-m"]:
      assert words[2] == f"experiments.{name}"
      found.append(words[3:])
    elif words[:1] == ["make"]:
      assert words[1] == name
      found.append([word.removeprefix("ARGS=") for word in words[2:]])
  return found


def test_there_are_configurations():
  assert "table4" in NAMES and len(NAMES) >= 7
  for name in NAMES:
    assert (ROOT / "experiments" / name / "__init__.py").is_file(), name


@every_config
def test_every_preset_loads_and_is_a_configuration_of_its_own(name):
  names = presets(name)
  assert "smoke" in names  # seconds, to see that it runs
  texts = set()
  for preset in names:
    config = load(name).get_config(preset)
    assert isinstance(config, ml_collections.ConfigDict)
    texts.add(json.dumps(config.to_dict(), sort_keys=True))  # as config.json will have it
  assert len(texts) == len(names)


@every_config
def test_an_unknown_preset_is_refused_and_those_there_are_named(name):
  with pytest.raises(InputError, match="'nonesuch'") as error:
    load(name).get_config("nonesuch")
  for preset in presets(name) - {""}:
    assert preset in str(error.value)


@every_config
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
def test_the_docstring_s_commands_parse(name, monkeypatch):
  monkeypatch.chdir(ROOT)  # where the commands are to be given
  assert commands(name)
  for arguments in commands(name):
    config, rest = shell_commands.parse(name, arguments, monkeypatch)
    assert rest == []
    assert set(config) == set(load(name).get_config())


@every_config
def test_the_docstring_says_where_it_is_from(name):
  assert "Source: " in docstring(name)
