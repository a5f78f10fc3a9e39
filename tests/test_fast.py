"""`make fast` says something of every room, and pytest can collect every file."""

import collections
import pathlib

import pytest

TESTS = pathlib.Path(__file__).parent
# On four devices there is no quick test: they are a process of their own.
ROOMS = {path.parent for path in TESTS.glob("*/**/test_*.py") if path.parent.parent == TESTS}
ROOMS = (ROOMS | {TESTS / "experiments"}) - {TESTS / "mesh"}

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("room", sorted(ROOMS), ids=lambda room: room.name)
def test_every_room_has_fast_tests(room):
  texts = (path.read_text(encoding="utf-8") for path in room.glob("**/test_*.py"))
  assert any("mark.fast\n" in text for text in texts), f"mark some tests of {room.name} as fast"


def test_every_test_file_has_a_name_of_its_own():
  """Of two of one name, pytest collects none: tests are no package."""
  names = collections.Counter(path.name for path in TESTS.rglob("test_*.py"))
  assert [name for name, count in names.items() if count > 1] == []
