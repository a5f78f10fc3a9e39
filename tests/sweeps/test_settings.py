"""Sweeps on the command line: values of every type, and a sentence for every mistake."""

import ml_collections
import pytest

from qnn_jax.errors import InputError
from qnn_jax.sweeps.settings import combine, take_flags


def config():
  return ml_collections.ConfigDict(
    {
      "rate": 0.01,
      "epochs": 5,
      "init": "normal",
      "flag": False,
      "hidden": (3, 4),
      "kinds": ("ann", "qnn"),
      "net": {"size": 3, "hidden": (1,), "deep": {"rate": 0.5}},
      "keep_params": False,
    }
  )


def swept(**flags):
  return [setting.swept for setting in combine(config(), flags, fixed=("keep_params",))]


def values(name, text):
  return [setting[name] for setting in swept(**{name: text})]


def test_flags_are_taken_and_the_rest_is_left():
  rest, found = take_flags(
    ["command", "--sweep.rate=0.1,0.2", "-sweep.init", "a,b", "--sweep=named", "--config.rate=3"]
  )
  assert rest == ["command", "--sweep=named", "--config.rate=3"]
  assert found == {"rate": "0.1,0.2", "init": "a,b"}
  assert take_flags(["command", "--sweep.net.size=a=b"])[1] == {"net.size": "a=b"}


@pytest.mark.parametrize(
  "arguments, told",
  [
    (["--sweep.rate=1", "--sweep.rate=2"], "--sweep.rate is given twice; give its values once"),
    (["--sweep.rate"], "--sweep.rate has no values; write --sweep.rate=VALUE,VALUE"),
  ],
)
def test_flags_that_are_not_whole(arguments, told):
  with pytest.raises(InputError) as error:
    take_flags(arguments)
  assert told in str(error.value)


@pytest.mark.parametrize(
  "name, text, found",
  [
    ("rate", "0.01,1e-3", [0.01, 0.001]),
    ("rate", "1", [1.0]),
    ("rate", " 0.1 , 0.2 ", [0.1, 0.2]),
    ("epochs", "1,2", [1, 2]),
    ("epochs", "-1", [-1]),
    ("init", "normal,positive", ["normal", "positive"]),
    ("init", "'a,b',\"c\"", ["a,b", "c"]),
    ("flag", "True,False", [True, False]),
    ("hidden", "(3,4),(5,)", [(3, 4), (5,)]),
    ("hidden", "[3,4]", [(3, 4)]),
    ("hidden", "(),(1,)", [(), (1,)]),
    ("kinds", "('a','b'),('c',)", [("a", "b"), ("c",)]),
    ("net.size", "7,8", [7, 8]),
    ("net.hidden", "(1,2),(3,)", [(1, 2), (3,)]),
    ("net.deep.rate", "1,2", [1.0, 2.0]),
  ],
)
def test_values_of_every_type(name, text, found):
  parsed = values(name, text)
  assert parsed == found and [type(v) for v in parsed] == [type(v) for v in found]


def test_a_setting_is_the_whole_configuration_with_its_values():
  before = config()
  settings = combine(before, {"rate": "0.1,0.2", "net.size": "7,8"})
  assert [s.swept for s in settings] == [
    {"rate": rate, "net.size": size} for rate in (0.1, 0.2) for size in (7, 8)
  ]
  assert settings[1].config.rate == 0.1 and settings[1].config.net.size == 8
  assert settings[1].config.net.hidden == (1,) and before == config()
  assert settings[1].title == "rate = 0.1, net.size = 8"


def test_no_sweep_is_one_setting():
  (setting,) = combine(config(), {})
  assert setting.swept == {} and setting.title == "" and setting.config == config()


def test_a_named_sweep_is_combined_with_flags():
  named = [{"init": "a"}, {"init": "b", "hidden": [9]}]
  found = [dict(sorted(s.swept.items())) for s in combine(config(), {"rate": "1,2"}, named)]
  assert found == [
    {"init": "a", "hidden": (3, 4), "rate": 1.0},  # an entry has what it leaves alone too
    {"init": "a", "hidden": (3, 4), "rate": 2.0},
    {"init": "b", "hidden": (9,), "rate": 1.0},
    {"init": "b", "hidden": (9,), "rate": 2.0},
  ]


@pytest.mark.parametrize(
  "flags, told",
  [
    ({"rat": "1"}, "the configuration has no field 'rat' to sweep; it has epochs, flag, hidden, init"),
    ({"net": "1"}, "the configuration has no field 'net' to sweep"),
    ({"net.width": "1"}, "the configuration has no field 'net.width' to sweep"),
    ({"rate": ""}, "--sweep.rate has no values; write --sweep.rate=VALUE,VALUE"),
    ({"init": " "}, "--sweep.init has no values"),
    ({"rate": "fast"}, "--sweep.rate=fast is not Python literals with commas between them"),
    ({"epochs": "1,2,"}, "--sweep.epochs=1,2, is not Python literals"),
    ({"rate": "0.1,,0.2"}, "--sweep.rate=0.1,,0.2 is not Python literals"),
    ({"rate": "0.1,0.1"}, "--sweep.rate=0.1,0.1 has a value twice; give each once"),
    ({"rate": "'a'"}, "rate must be a number, as 0.01, got 'a'"),
    ({"rate": "True"}, "rate must be a number, as 0.01, got True"),
    ({"rate": "(0.1,0.2)"}, "rate must be a number, as 0.01, got (0.1, 0.2)"),
    ({"epochs": "1.5"}, "epochs must be a whole number, as 5, got 1.5"),
    ({"epochs": "False"}, "epochs must be a whole number, as 5, got False"),
    ({"init": "1,2"}, "init must be text, as 'normal', got 1"),
    ({"flag": "1"}, "flag must be True or False, as False, got 1"),
    ({"hidden": "3,4"}, "hidden is a tuple: write --sweep.hidden='(3, 4),(3, 4)', got 3,4"),
    ({"hidden": "(3,4"}, "--sweep.hidden=(3,4 is not Python literals"),
    ({"hidden": "(3,'a')"}, "hidden must be whole numbers, such as (3, 4), got (3, 'a')"),
    ({"keep_params": "True,False"}, "keep_params changes no result, so that it cannot be swept"),
    ({"rate": "__import__('os')"}, "--sweep.rate=__import__('os') is not Python literals"),
    ({"epochs": "(" * 500 + "1"}, "is not Python literals"),
  ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(flags, told):
  with pytest.raises(InputError) as error:
    swept(**flags)
  assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  "flags, named, told",
  [
    ({"rate": "1"}, [{"rate": 2.0}], "the named sweep changes rate, and so does --sweep.rate: use"),
    ({}, [{"rate": 2.0}, {"rate": 2.0}], "the sweep has {'rate': 2.0} twice; give each value once"),
    ({}, [{"rat": 2.0}], "the configuration has no field 'rat' to sweep"),
    ({}, [{"rate": "x"}], "rate must be a number, as 0.01, got 'x'"),
    ({}, [{"hidden": 3}], "hidden must be a tuple such as (3, 4), got 3"),
    ({}, [{"keep_params": True}], "keep_params changes no result"),
  ],
)
def test_a_mistake_in_a_named_sweep_too(flags, named, told):
  with pytest.raises(InputError) as error:
    combine(config(), flags, named, fixed=("keep_params",))
  assert told in str(error.value)


@pytest.mark.parametrize("arguments", (["x", "--sweep", "--workdir=a"], ["x", "--sweep"]))
def test_a_flag_is_no_name_of_a_sweep(arguments):
  with pytest.raises(
    InputError, match="^--sweep has no name; write --sweep=NAME for a named sweep"
  ):
    take_flags(arguments)
  with pytest.raises(InputError, match="^--sweep.rate has no values; write"):
    take_flags(["x", "--sweep.rate", "--workdir=a"])
