"""Commands as pages and docstrings show them: taken apart, and compared with what is there.

Nothing is run. Flags of experiments are parsed as the program does; those of scripts are looked up in
their source, since no two scripts can define their flags in one process.
"""

import importlib
import pathlib
import re
import shlex
import sys

from absl import flags
from ml_collections import config_flags

from qnn_jax.sweeps import configs, settings

ROOT = pathlib.Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(" ".join(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)).split())

_SEPARATORS = {"&", "&&", "|", "||", ";", "(", ")", "do", "done", "then", "fi", "wait"}
_DEFINED = re.compile(r"DEFINE_(\w+)\(\s*\"(\w+)\"|add_argument\(\s*\"--([\w-]+)\"")
_OF_ABSL = {"help", "helpfull", "verbosity"}


def commands(text):
  """The commands of a piece of shell, each as a list of words; variables set in front are left out."""
  found = []
  for line in text.replace("\\\n", " ").splitlines():
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)  # a comment ends with its line
    lexer.whitespace_split = True
    words = []
    for word in [*lexer, ";"]:
      if word in _SEPARATORS:
        found.append(words)
        words = []
      elif words or not re.match(r"[A-Za-z_]\w*=", word):
        words.append(word)
  return [words for words in found if words]


def defined_flags(*sources):
  """Name -> kind, of the flags that these files of Python define; "" where argparse has them."""
  text = "".join(source.read_text("utf-8") for source in sources)
  return {name or other: kind for kind, name, other in _DEFINED.findall(text)}


def parse(name, arguments, monkeypatch):
  """(config, what is left over) of an experiment's arguments; raises what its program would refuse."""
  arguments, swept = settings.take_flags(arguments)
  monkeypatch.setattr(sys, "argv", ["command", *arguments])  # a config flag looks at it
  values = flags.FlagValues()
  holder = config_flags.DEFINE_config_file(
    "config", str(ROOT / f"configs/{name}.py"), "", flag_values=values
  )
  known = defined_flags(*(ROOT / "qnn_jax" / "command").glob("*.py"))
  for flag in known.keys() - {"config"}:
    define = flags.DEFINE_bool if known[flag] == "bool" else flags.DEFINE_string
    define(flag, None, "", flag_values=values)
  rest = values(sys.argv)
  path = ROOT / f"configs/{name}.py"
  named = [{}] if values.sweep is None else configs.named_sweep(path, values.sweep)
  experiment = importlib.import_module(f"experiments.{name}.__main__").EXPERIMENT
  for setting in settings.combine(holder.value, swept, named):
    experiment.check(setting.config)
  return holder.value, rest[1:]


def check(words, text, monkeypatch):
  """Fails if a command names what is not there. `text` may tell of files that a reader makes.

  Returns:
    What was looked at: "make", "experiment", "script" or "" for a program of others.
  """
  if words[0] == "make":
    return _check_make(words[1:], monkeypatch)
  for at, word in enumerate(words):
    if word == "-m" and at + 1 < len(words) and words[at + 1].startswith("experiments."):
      return _check_experiment(words[at + 1], words[at + 2 :], text, monkeypatch)
  for word in words:
    path = word.removeprefix("./")
    if re.match(r"(scripts|configs|experiments|docs|tests|qnn_jax)/", path):
      assert (ROOT / path.partition(":")[0]).exists() or path in text.replace(word, "", 1), word
  scripts = [at for at, word in enumerate(words) if re.fullmatch(r"(\./)?scripts/\S+\.py", word)]
  if scripts:
    script = ROOT / words[scripts[0]]
    there = defined_flags(script, *(ROOT / "scripts").glob("_*.py")).keys() | _OF_ABSL
    for word in words[scripts[0] + 1 :]:
      flag = re.match(r"--([\w-]+)", word)
      assert not flag or flag[1].removeprefix("no") in there or flag[1] in there, (
        f"{script}: {word}"
      )
  return "script" if scripts else ""


def _check_make(words, monkeypatch):
  targets = [word for word in words if "=" not in word and not word.startswith("-")]
  assert targets and set(targets) <= TARGETS, words
  for variable, _, value in (word.partition("=") for word in words if "=" in word):
    assert re.search(rf"\b{variable}\b", MAKEFILE), variable
    # make's shell reads the value once more: what was quoted for the first shell only is bare there.
    assert commands(value) in ([], [shlex.split(value)]), value
    if variable == "ARGS" and (ROOT / "experiments" / targets[0]).is_dir():
      assert parse(targets[0], shlex.split(value), monkeypatch)[1] == []
    elif variable == "ARGS" and "/" in value and not value.startswith("-"):
      assert (ROOT / value.partition(" ")[0].partition(":")[0]).exists(), value
  return "make"


def _check_experiment(module, arguments, text, monkeypatch):
  name = module.removeprefix("experiments.")
  if f"experiments/{name}/" in text and not (ROOT / "experiments" / name).exists():
    return "experiment"  # the page has the reader make it
  assert (ROOT / "experiments" / name / "__main__.py").is_file(), module
  assert parse(name, [w for w in arguments if not _own_config(w, text)], monkeypatch)[1] == []
  return "experiment"


def _own_config(word, text):
  """Whether a word names a config that is in no checkout: a workdir's, or a file of the page's reader."""
  named = re.match(r"--config=([^:]+)", word)
  if not named or (named[1].startswith("configs/") and (ROOT / named[1]).exists()):
    return False
  return named[1].endswith("/config.json") or re.search(rf"(`|# ){re.escape(named[1])}", text)
