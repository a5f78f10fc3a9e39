"""The report page of a sweep: one HTML file that holds everything, and needs no network.

`page(Page(...))` is a pure function from the data of a sweep to the text of the file. The page's frame, style
and script are the files `page.html`, `page.css` and `page.js` in this folder.
"""

from qnn_jax.reports.page._data import Failure, Machine, Page, Runs, Section, Work
from qnn_jax.reports.page._page import looks, page
from qnn_jax.reports.page._text import anchor

__all__ = [
  "Failure", "Machine", "Page", "Runs", "Section", "Work", "anchor", "looks", "page",
]  # fmt: skip
