"""docs/equations.md names every equation, and nothing that is not there."""

import importlib
import inspect
import pathlib
import re

import pytest

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
TABLES = [line for line in TEXT.splitlines() if line.startswith("|")]


def test_every_equation_algorithm_table_and_figure_has_a_row():
  found = set()
  for line in TABLES:
    first = line.split("|")[1].replace("*", "")
    for low, high in re.findall(r"\((\d+)\) to \((\d+)\)", first):
      found.update(range(int(low), int(high) + 1))
    found.update(map(int, re.findall(r"\((\d+)\)", first)))
    found.update(re.findall(r"(?:Algorithm|Table|Figure) \d", first))
  named = {f"Table {i}" for i in range(1, 6)} | {"Algorithm 1", "Algorithm 2"}
  assert found == set(range(1, 71)) | named | {"Figure 1", "Figure 2"}


def test_every_file_and_name_is_there():
  for line in TABLES:
    for path in re.findall(r"`([\w/]+\.py)`", line):
      assert (ROOT / path).is_file() or (ROOT / "qnn_jax" / path).is_file(), path
    for room, name in re.findall(r"`(\w+)\.(\w+)`", line):
      if name != "py":
        sources = [*(ROOT / "qnn_jax").glob(f"{room}.py"), *(ROOT / "qnn_jax" / room).glob("*.py")]
        pattern = rf"^(def|class) {name}\b"
        texts = [source.read_text(encoding="utf-8") for source in sources]
        assert any(re.search(pattern, text, re.MULTILINE) for text in texts), name


def test_every_experiment_is_there():
  header = re.compile(r"\| (Experiment|---) \|$")
  for line in TABLES:
    if not header.search(line):
      for name in re.findall(r"`(\w+)`", line.rstrip("|").rsplit("|", 1)[1]):
        assert (ROOT / "experiments" / name / "__init__.py").is_file(), name
        assert (ROOT / "configs" / f"{name}.py").is_file(), name


def rows_with_functions():
  """(equations, named sources) of each row of equations; a row 'as (8)' has the sources of (8)."""
  found, column = [], 0
  for line in TABLES:
    cells = [cell.strip() for cell in line.split("|")]
    if "Function" in cells:
      column = cells.index("Function")
    numbers = numbers_in(cells[1].replace("*", ""))
    if numbers and "Function" not in cells:
      sources = sources_of(cells[column])
      for other in re.findall(r"as \((\d+)\)", cells[column]):
        of_other = next(named for those, named in found if int(other) in those)
        sources |= {n: t for n, t in of_other.items() if n not in sources}
      if "backward rules" in cells[column] and not sources:
        files = sorted((ROOT / "qnn_jax" / "ops").glob("*.py"))
        sources = {"ops": "".join(file.read_text(encoding="utf-8") for file in files)}
      found.append((numbers, sources))
  return found


def numbers_in(text):
  found = set(map(int, re.findall(r"\((\d+)[,)]", text)))
  for low, high in re.findall(r"\((\d+)\)(?:-| to )\((\d+)\)", text):
    found.update(range(int(low), int(high) + 1))
  return found


def sources_of(cell):
  """name -> source: of the files that a cell names, and of the functions and classes."""
  paths = re.findall(r"`([\w/]+\.py)`", cell)
  files = [p for path in paths for p in (ROOT / path, ROOT / "qnn_jax" / path) if p.is_file()]
  found = {str(file): file.read_text(encoding="utf-8") for file in files}
  for room, name in re.findall(r"`(\w+)\.(?!py`)(\w+)`", cell):
    found[f"{room}.{name}"] = inspect.getsource(
      getattr(importlib.import_module(f"qnn_jax.{room}"), name)
    )
  return found


def test_what_implements_an_equation_names_it():
  rows = rows_with_functions()
  assert len(rows) > 25 and sum(len(sources) for _, sources in rows) > 40
  for numbers, sources in rows:
    for name, text in sources.items():
      assert numbers & numbers_in(text), f"{name} names none of its equations {sorted(numbers)}"
