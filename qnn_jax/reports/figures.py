"""Writes figures as PNG files: one alone, or several below each other, one for each swept value."""

import io
import json
import os
from collections.abc import Sequence
from typing import Any

import matplotlib.image
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from qnn_jax.atomic import atomic_write_bytes

_DPI = 150
_PLACES = "Figures"  # the key of a file of several figures: [top, height, width] of each, in pixels
_STRIP = 0.5  # inches above a section, for its heading


def save_png(
  figure: Figure, path: str | os.PathLike, dpi: int = _DPI, *, made_of: str = ""
) -> None:
  """Writes the figure as PNG in one atomic step; the same figure gives the same bytes.

  Args:
    figure: to write.
    path: of the file.
    dpi: pixels an inch.
    made_of: kept in the file as its comment.
  """
  buffer = io.BytesIO()
  figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata=_metadata(made_of))
  atomic_write_bytes(path, buffer.getvalue())


def save(
  sections: Sequence[tuple[str, Figure]],
  path: str | os.PathLike,
  dpi: int = _DPI,
  *,
  made_of: str = "",
) -> None:
  """Writes figures as one PNG, one below another, each below its heading.

  Args:
    sections: (heading, figure) of each section; a single figure without a heading is written alone.
    path: the file.
    dpi: pixels an inch.
    made_of: kept in the file as its comment.
  """
  if len(sections) == 1 and not sections[0][0]:
    save_png(sections[0][1], path, dpi, made_of=made_of)
    return
  parts = [part for title, figure in sections for part in (_heading(title, figure), figure)]
  pixels = [_pixels(part, dpi) for part in parts]
  width = max(part.shape[1] for part in pixels)
  whole = [
    np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255)
    for part in pixels
  ]
  tops = np.cumsum([0, *(len(part) for part in pixels)])
  places = [[int(tops[i]), *map(int, pixels[i].shape[:2])] for i in range(1, len(pixels), 2)]
  buffer = io.BytesIO()
  metadata = _metadata(made_of) | {_PLACES: json.dumps(places)}
  matplotlib.image.imsave(buffer, np.concatenate(whole), format="png", dpi=dpi, metadata=metadata)
  atomic_write_bytes(path, buffer.getvalue())


def parts(png: bytes) -> list[bytes]:
  """The figures in `png`, a file of `save`, each as a PNG of its own; `png` itself if it holds one figure."""
  with Image.open(io.BytesIO(png)) as whole:
    places = json.loads(whole.info.get(_PLACES, "[]"))
    if not places:
      return [png]
    found = []
    for top, height, width in places:
      buffer = io.BytesIO()
      whole.crop((0, top, width, top + height)).save(buffer, "png")
      found.append(buffer.getvalue())
    return found


def _metadata(made_of: str) -> dict[str, Any]:
  return {"Software": None} | ({"Comment": made_of} if made_of else {})


def _heading(title: str, below: Figure) -> Figure:
  width = below.get_size_inches()[0]
  figure = Figure(figsize=(width, _STRIP))
  figure.text(0.25 / width, 0.5, title, fontsize=14, weight="bold", va="center", color="#000000")
  figure.patches.append(
    matplotlib.patches.Rectangle((0, 0.9), 1, 0.1, transform=figure.transFigure, color="#dddddd")
  )
  return figure


def _pixels(figure: Figure, dpi: int) -> np.ndarray:
  figure.set_dpi(dpi)
  figure.set_facecolor("white")
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3]
