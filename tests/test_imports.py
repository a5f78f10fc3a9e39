"""What imports what, and how long files are: read from the source, so nothing is run for it."""

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "qnn_jax"

# The library's parts; one imports only those of its own row or of rows above, "training" all of these.
LAYERS = (
  ("errors", "atomic", "living", "_extras"),
  ("ops",),
  ("initializers", "layers", "losses", "complexity"),
  ("heads", "models"),
  ("surgery", "inspect"),
  ("training",),
  ("sklearn",),
)
RANK = {part: rank for rank, row in enumerate(LAYERS) for part in row}
# What is apart: "datasets" knows nothing of networks; the others need the extra `experiments`.
APART = ("command", "datasets", "experiment", "report_page", "reports", "sweeps")
DATASETS_MAY = ("datasets", "errors", "_extras")

LIBRARY = {"jax", "flax", "optax", "numpy", *sys.stdlib_module_names}
EXTRAS = ("sweeps", "reports", "report_page", "experiment", "command")  # may import them
READER = "qnn_jax.datasets._tfds"  # may, too
LONGEST = 300


def name_of(path):
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part_of(module):
  """The file or folder of qnn_jax that a module is in; "" for qnn_jax itself."""
  return (module.split(".") + [""])[1]


@functools.cache
def imports_of(module):
  """Full names of what a module imports anywhere in it, functions included."""
  tree = ast.parse(MODULES[module].read_text("utf-8"))
  found = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{module}: import by full names"
      for alias in node.names:
        # `from package import name` is of a module, if there is one of that name.
        whole = f"{node.module}.{alias.name}"
        found.add(whole if whole in MODULES else node.module)
  return found


def own(module):
  return {name for name in imports_of(module) if name.split(".")[0] == "qnn_jax"}


def test_every_part_has_its_place():
  parts = {part_of(module) for module in MODULES} - {""}
  assert parts == {*RANK, *APART}, "LAYERS or APART must say where a new part is"


@pytest.mark.parametrize("module", MODULES)
def test_the_library_needs_four_packages(module):
  others = {name.split(".")[0] for name in imports_of(module)} - LIBRARY - {"qnn_jax"}
  if part_of(module) == "sklearn":
    others -= {"sklearn", "scipy", "threadpoolctl"}  # the two come with the first
  if part_of(module) not in EXTRAS and module != READER:
    assert not others


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_what_is_above_it(module):
  part = part_of(module)
  parts = {part_of(name) for name in own(module)}
  if part == "datasets":
    assert parts <= {*DATASETS_MAY}
  elif part in RANK:
    assert "" not in parts, "qnn_jax itself imports the layers: import the module that has the name"
    assert parts <= {*RANK}, "the library works without what is apart"
    assert all(RANK[other] <= RANK[part] for other in parts)
  elif part == "reports":
    assert not parts & {"sweeps", "training", "datasets", "experiment", "report_page", "command"}
  elif part == "sweeps":
    assert not parts & {"reports", "report_page", "training", "datasets", "experiment", "command"}
  assert not any(name.split(".")[0] in ("experiments", "configs") for name in imports_of(module))


def test_ops_import_nothing_but_errors():
  for module in MODULES:
    if part_of(module) == "ops":
      assert {part_of(name) for name in own(module)} <= {"ops", "errors"}, module


def test_no_module_imports_itself_by_way_of_others():
  done, path = set(), []

  def visit(module):
    assert module not in path, " -> ".join([*path[path.index(module) :], module])
    if module not in done:
      path.append(module)
      for other in sorted(own(module)):
        visit(other)
      done.add(path.pop())

  for module in MODULES:
    visit(module)


def test_the_library_runs_without_the_extra():
  """With what only the extra brings out of reach; absl, rich and scipy come with JAX, Flax and Optax."""
  modules = [m for m in MODULES if part_of(m) not in EXTRAS and m != READER and "sklearn" not in m]
  missing = ("ml_collections", "tensorflow_datasets", "array_record", "PIL", "matplotlib")
  code = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
  code += f"import {', '.join(modules)}\n"
  code += "print(qnn_jax.datasets.make_xor().targets)\n"
  for part in EXTRAS:
    code += f"try:\n  import qnn_jax.{part}\nexcept ImportError as error:\n  print(error)\n"
  done = subprocess.run(
    [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0, done.stderr
  told = [
    "qnn_jax.sweeps needs ml_collections",
    "qnn_jax.reports needs matplotlib",
    "qnn_jax.reports needs matplotlib",  # of qnn_jax.report_page
    "qnn_jax.reports needs matplotlib",  # of qnn_jax.experiment
    "qnn_jax.command needs ml_collections",
  ]
  install = "pip install 'qnn_jax[experiments]'"
  assert done.stdout.splitlines() == ["[0. 1. 1. 0.]", *(f"{line}: {install}" for line in told)]


def test_an_experiment_without_the_extra_ends_with_a_sentence():
  code = "import runpy, sys; sys.modules['ml_collections'] = None; "
  code += "runpy.run_module('experiments.xor', run_name='__main__')"
  done = subprocess.run(
    [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 1
  assert done.stderr == (
    "error: every experiment needs ml_collections: pip install 'qnn_jax[experiments]'\n"
  )


FOLDERS = ("qnn_jax", "experiments", "configs", "scripts", "tests")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_too_long(folder):
  lengths = {
    str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
    for path in (ROOT / folder).rglob("*.py")
  }
  assert lengths
  assert not {path: length for path, length in lengths.items() if length > LONGEST}
