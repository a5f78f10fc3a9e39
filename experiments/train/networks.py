"""Errors in a network that a user has registered: one sentence with the line in the user's file."""

import contextlib
import pathlib
import traceback
from collections.abc import Iterator

from qnn_jax.errors import InputError

_OURS = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def told(kind: str) -> Iterator[None]:
  """A context in which an exception of the network's code becomes an InputError with the network and the line."""
  try:
    yield
  except InputError:
    raise
  except Exception as error:
    why = " ".join(str(error).split())[:300]
    raise InputError(
      f"the network '{kind}' cannot be used: {type(error).__name__}{_place(error)}: {why}"
    ) from error


def check_outputs(kind: str, logits, wanted: tuple[int, int]) -> None:
  """InputError unless a network returns one logit per class."""
  if logits.shape != wanted:
    raise InputError(
      f"the network '{kind}' must return logits of the shape {wanted}, images and classes, for a batch, "
      f"got {logits.shape}"
    )


def _place(error: Exception) -> str:
  """' at FILE:LINE' of the innermost frame outside this project and libraries; '' if there is none."""
  for frame in reversed(traceback.extract_tb(error.__traceback__)):
    path = pathlib.Path(frame.filename)
    libraries = {"site-packages", "dist-packages"} & set(path.parts)
    if not libraries and path.is_file() and not path.is_relative_to(_OURS / "qnn_jax"):
      if not path.is_relative_to(_OURS / "experiments"):
        return f" at {path.name}:{frame.lineno}"
  return ""
