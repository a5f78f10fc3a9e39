"""Table 4 in the paper's layout, with our results and the paper's: for the screen, markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence

from experiments.table4.fidelity import fidelity, fidelity_line
from experiments.table4.paper import PAPER_MODELS, Cell, Row, Stats, cell_order, models_of, rows_of
from experiments.table4.summary import CellSummary
from qnn_jax import heads

Summary = Mapping[Cell, CellSummary]
Paper = Mapping[Cell, Stats]
Link = Callable[[Cell], str]
"""A function from a cell to the id of the page element that its mean links to."""

CSV_FIELDS = (
  "train_size",
  "epochs",
  "hidden",
  "model",
  "mean",
  "std",
  "best",
  "worst",
  "runs",
  "diverged",
  "paper_mean",
  "paper_std",
  "paper_best",
  "paper_worst",
  "difference",
)
_MISSING = "-"


def header_cells(models: Sequence[str] = PAPER_MODELS) -> tuple[str, ...]:
  """The column titles of `row_cells`."""
  pairs = [head for model in models for head in _columns(model, model, "paper")]
  return "size", "epochs", "hidden", *pairs, ""


def row_cells(
  row: Row, summary: Summary, paper: Paper, models: Sequence[str] = PAPER_MODELS
) -> tuple[str, ...]:
  """One row of the table as short strings, for a table on the screen.

  Args:
    row: (train_size, epochs, hidden).
    summary: our cells; a missing cell shows as '-'.
    paper: the paper's cells.
    models: the models in order; a model that the paper does not have gets no column for the paper.

  Returns:
    Size, epochs and hidden neurons; for each model our mean±std and the paper's mean, in percent with one
    decimal; and finally the number of diverged runs in the row, empty if there are none.
  """
  cells = [Cell(*row, model) for model in models]
  pairs = [
    text
    for cell in cells
    for text in _columns(cell.model, _short(summary.get(cell)), _short_mean(paper.get(cell)))
  ]
  diverged = sum(summary[cell].diverged for cell in cells if cell in summary)
  return *map(str, row), *pairs, f"{diverged} diverged" if diverged else ""


def header_line(models: Sequence[str] = PAPER_MODELS) -> str:
  """The header line above the lines of `row_line`."""
  return _line(header_cells(models), models)


def row_line(row: Row, summary: Summary, paper: Paper, models: Sequence[str] = PAPER_MODELS) -> str:
  """`row_cells` in aligned columns: one line of at most 100 characters for up to four models."""
  return _line(row_cells(row, summary, paper, models), models)


def to_text(summary: Summary, paper: Paper) -> str:
  """The whole table for the screen, with a rule between sizes; it ends with a newline."""
  models = _models(summary)
  lines = [header_line(models)]
  size = None
  for row in rows_of(summary):
    if row.train_size != size:
      lines.append("-" * len(lines[0]))
      size = row.train_size
    lines.append(row_line(row, summary, paper, models))
  return "\n".join(lines) + "\n"


def to_markdown(
  summary: Summary, paper: Paper, dataset: str = "mnist", link: Link | None = None
) -> str:
  """The table in the paper's layout with the fidelity line and notes.

  Each cell holds our result and then, in italics, the paper's: on the same line in the source, but below it when
  rendered, so that the table is as narrow as the paper's. With `link`, each of our means is a link.
  """
  models = _models(summary)
  titles = [heads.title(model) for model in models]
  columns = [column for title in titles for column in (f"{title} μ ± σ", f"{title} best/worst")]
  lines = [
    f"# Table 4: test accuracy on {dataset.upper()}, in percent",
    "",
    _sentence(fidelity_line(fidelity(summary, paper))),
    "",
    f"In each cell ours, then *the paper's*. {_runs_note(summary)}",
    "",
    _markdown_row(["Data size", "Max epochs", "Hidden neurons", *columns]),
    _markdown_row(["---:"] * (3 + len(columns))),
  ]
  previous = Row(0, 0, 0)  # no row is this one
  for row in rows_of(summary):
    changed = row.train_size != previous.train_size
    size = row.train_size if changed else ""
    epochs = row.epochs if changed or row.epochs != previous.epochs else ""
    cells = [text for model in models for text in _full(Cell(*row, model), summary, paper, link)]
    lines.append(_markdown_row([size, epochs, row.hidden, *cells]))
    previous = row
  if (misprint := Cell(6000, 10, 20, "qnn")) in summary and misprint in paper:
    lines += ["", "A misprint: the paper's QNN best/worst at 6000/10/20 do not contain its mean."]
  return "\n".join(lines) + "\n"


def to_tex(summary: Summary, paper: Paper, dataset: str = "mnist") -> str:
  """The table in the paper's layout as a LaTeX tabular; needs the package booktabs.

  One line per row of the paper, with mean and standard deviation, ours and then the paper's.
  """
  models = _models(summary)
  theirs = [model for model in models if model in PAPER_MODELS]
  count = len(models) + len(theirs)
  first = [
    rf"\multicolumn{{{1 + (model in theirs)}}}{{c}}{{{heads.title(model)}}}" for model in models
  ]
  second = [name for model in models for name in _columns(model, "ours", "paper")]
  lines = [
    f"% Test accuracy on {dataset.upper()} in percent, mean and standard deviation. "
    "Needs \\usepackage{booktabs}.",
    rf"\begin{{tabular}}{{rrr{'c' * count}}}",
    r"\toprule",
    _tex_row(["", "", "", *first]),
    _tex_row(["Samples", "Epochs", "Hidden", *second]),
  ]
  previous = Row(0, 0, 0)  # no row is this one
  for row in rows_of(summary):
    changed = row.train_size != previous.train_size
    if changed:
      lines.append(r"\midrule")
    size = row.train_size if changed else ""
    epochs = row.epochs if changed or row.epochs != previous.epochs else ""
    cells = [
      text
      for model in models
      for text in _columns(
        model,
        _tex_spread(summary.get(Cell(*row, model))),
        _tex_spread(paper.get(Cell(*row, model))),
      )
    ]
    lines.append(_tex_row([size, epochs, row.hidden, *cells]))
    previous = row
  return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def to_csv(summary: Summary, paper: Paper) -> str:
  """The table as CSV, one line per cell; percentages have four decimals, unknown values are empty.

  `runs` is the number of runs in the statistics; `difference` is our mean minus the paper's.
  """
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator="\n")
  writer.writerow(CSV_FIELDS)
  for cell in sorted(summary, key=cell_order):
    ours = summary[cell]
    theirs: Sequence[float | None] = paper.get(cell, (None,) * 4)
    difference = None if ours.mean is None or theirs[0] is None else ours.mean - theirs[0]
    numbers = [*map(_rounded, ours[:4]), ours.runs, ours.diverged, *map(_rounded, theirs)]
    writer.writerow([*cell, *numbers, _rounded(difference)])
  return buffer.getvalue()


def _models(summary: Summary) -> tuple[str, ...]:
  # The paper's columns keep their places even while a model has no result yet.
  return models_of([*summary, *(Cell(0, 0, 0, model) for model in PAPER_MODELS)])


def _columns(model: str, ours: str, theirs: str) -> tuple[str, ...]:
  return (ours, theirs) if model in PAPER_MODELS else (ours,)


def _line(cells: Sequence[str], models: Sequence[str]) -> str:
  size, epochs, hidden, *rest, diverged = cells
  columns = iter(rest)
  groups = [f"{size:>5} {epochs:>6} {hidden:>6}"]
  for model in models:
    ours = f"{next(columns):>9}"
    groups.append(f"{ours} {next(columns):>5}" if model in PAPER_MODELS else ours)
  return " | ".join([*groups, diverged] if diverged else groups)


def _short(ours: CellSummary | None) -> str:
  if ours is None:
    return _MISSING
  if ours.mean is None:
    return "diverged"
  return f"{ours.mean:.1f}" if ours.std is None else f"{ours.mean:.1f}±{ours.std:.1f}"


def _short_mean(theirs: Stats | None) -> str:
  return _MISSING if theirs is None else f"{theirs.mean:.1f}"


def _full(cell: Cell, summary: Summary, paper: Paper, link: Link | None) -> tuple[str, str]:
  ours, theirs = summary.get(cell), paper.get(cell)
  spread, ends = _MISSING, _MISSING
  if ours is not None and ours.mean is not None:
    spread = _spread(ours)
    ends = _ends(ours)
  if ours is not None and ours.diverged:
    note = f"{ours.diverged} of {ours.runs + ours.diverged} diverged"
    spread = f"{spread} ({note})" if ours.runs else note
  if link and ours is not None:
    spread = f"[{spread}](#{link(cell)})"
  if theirs is None:
    return spread, ends
  return f"{spread}<br>*{_spread(theirs)}*", f"{ends}<br>*{_ends(theirs)}*"


def _spread(stats: CellSummary | Stats) -> str:
  return f"{stats.mean:.2f}" if stats.std is None else f"{stats.mean:.2f} ± {stats.std:.2f}"


def _tex_spread(stats: CellSummary | Stats | None) -> str:
  if stats is None or stats.mean is None:
    return "--"
  text = f"{stats.mean:.2f}"
  return f"${text}$" if stats.std is None else rf"${text} \pm {stats.std:.2f}$"


def _tex_row(cells: Sequence[object]) -> str:
  return " & ".join(map(str, cells)) + r" \\"


def _ends(stats: CellSummary | Stats) -> str:
  return f"{stats.best:.2f}/{stats.worst:.2f}"


def _runs_note(summary: Summary) -> str:
  counts = {ours.runs + ours.diverged for ours in summary.values()} or {0}
  low, high = min(counts), max(counts)
  plural = "run" if high == 1 else "runs"
  return f"{low} {plural} a cell." if low == high else f"{low} to {high} {plural} a cell."


def _sentence(line: str) -> str:
  return f"{line[0].upper()}{line[1:]}."


def _markdown_row(cells: Sequence[object]) -> str:
  return f"| {' | '.join(map(str, cells))} |"


def _rounded(value: float | None) -> str:
  return "" if value is None else repr(round(float(value), 4))
