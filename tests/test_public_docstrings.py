"""Every public symbol has a docstring, which names its parameters and the shapes of its arrays."""

import dataclasses
import inspect
import re
import types
from collections.abc import Iterator

import pytest
from public_symbols import docstring, methods, public_symbols

pytestmark = pytest.mark.fast

SYMBOLS = dict(public_symbols())
# Arrays by their annotation: `jax.Array`, `jax.Array | None`, `np.ndarray`, `ArrayLike`; not trees of
# arrays, and not functions of arrays.
ARRAY = re.compile(
  r"^(?!.*(Callable|Iterable|Mapping\[)).*\b(Array|ndarray|ArrayLike)\b", re.DOTALL
)
# [..., n], [P, m], [*window, c/g, m], []: a shape; or the word for none.
SHAPE = re.compile(r"\[[\w.,*+/ ()]*\]|\bscalar\b")


def functions() -> Iterator[tuple[str, types.FunctionType, str]]:
  """(name, function, the text that must describe it): of functions, methods and constructors."""
  for name, symbol in SYMBOLS.items():
    text = docstring(name, symbol)
    if isinstance(symbol, type):
      for method, function in methods(symbol):
        yield f"{name}.{method}", function, inspect.cleandoc(function.__doc__ or "")
      made = vars(symbol).get("__init__")
      if isinstance(made, types.FunctionType) and not dataclasses.is_dataclass(symbol):
        yield name, made, text
    elif isinstance(symbol, types.FunctionType):
      yield name, symbol, text


FUNCTIONS = {name: (function, text) for name, function, text in functions()}
CLASSES = {name: symbol for name, symbol in SYMBOLS.items() if isinstance(symbol, type)}


def parameters(function) -> list[inspect.Parameter]:
  listed = inspect.signature(inspect.unwrap(function)).parameters.values()
  return [each for each in listed if each.name not in ("self", "cls")]


def fields(symbol: type) -> list[str]:
  """The fields of a dataclass or a NamedTuple that the class itself adds."""
  if dataclasses.is_dataclass(symbol):
    own = vars(symbol).get("__annotations__", {})
    return [name for name in own if not name.startswith("_")]
  return [*getattr(symbol, "_fields", ())]


def arguments(text: str) -> str:
  """The entries below 'Args:', without what they say; the whole text if it has no such section."""
  _, found, below = text.partition("Args:\n")
  if not found:
    return text
  section = re.split(r"\n(?=\S)", below, maxsplit=1)[0]
  return "\n".join(re.findall(r"^  (\S[^:\n]*):", section, re.MULTILINE))


def is_named(name: str, text: str) -> bool:
  return bool(re.search(rf"(?<![\w.]){re.escape(name)}\b", text))


def entry(name: str, text: str) -> str:
  """What 'Args:' or 'Attributes:' says of a parameter, the lines of its entry joined; "" if nothing."""
  found = re.search(
    rf"^  (?:[\w*]+, )*\*{{0,2}}{re.escape(name)}(?:, [\w*]+)*: (.*(?:\n {{4,}}.*)*)",
    text,
    re.MULTILINE,
  )
  return found[1] if found else ""


def has_shape(name: str, text: str) -> bool:
  """Whether a text gives an array's shape: in its entry, or right behind its name."""
  behind = rf"(?<![\w.])(?:{re.escape(name)}|{re.escape(name)}(?: and|,) \w+) ({SHAPE.pattern})"
  return bool(SHAPE.search(entry(name, text)) or re.search(behind, text))


@pytest.mark.parametrize("name", SYMBOLS)
def test_it_has_a_docstring(name):
  assert docstring(name, SYMBOLS[name]), f"{name} has no docstring"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_names_its_parameters_and_their_shapes(name):
  function, text = FUNCTIONS[name]
  assert text, f"{name} has no docstring"
  text = text.partition(">>>")[0]  # lists of numbers in the examples look like shapes
  for each in parameters(function):
    assert is_named(each.name, arguments(text)), f"{name} does not say what {each.name} is"
    if ARRAY.search(str(each.annotation)):
      assert has_shape(each.name, text), f"{name} does not give the shape of {each.name}"
  returned = str(inspect.signature(inspect.unwrap(function)).return_annotation)
  if ARRAY.search(returned) and name not in CLASSES:
    behind = re.split(r"->|Returns:", text, maxsplit=1)[-1]
    assert SHAPE.search(behind), f"{name} does not give the shape of what it returns"


@pytest.mark.parametrize("name", [name for name in CLASSES if fields(CLASSES[name])])
def test_it_names_its_fields_and_their_shapes(name):
  symbol = CLASSES[name]
  text = docstring(name, symbol)
  for field in fields(symbol):
    assert is_named(field, text), f"{name} does not say what {field} is"
    annotation = str(inspect.get_annotations(symbol).get(field, ""))
    if ARRAY.search(annotation):
      assert has_shape(field, text), f"{name} does not give the shape of {field}"


def test_there_is_something_to_look_at():
  """So that no filter above quietly lets everything through."""
  arrays = [
    each
    for function, _ in FUNCTIONS.values()
    for each in parameters(function)
    if ARRAY.search(str(each.annotation))
  ]
  assert len(SYMBOLS) > 250 and len(FUNCTIONS) > 180 and len(arrays) > 60
