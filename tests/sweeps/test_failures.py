"""Failures are dropped point by point, however groups are cut, and tell one attempt from another."""

import pytest
from absl import logging
from toy import point

from qnn_jax.sweeps import failures

pytestmark = pytest.mark.fast

POINTS = [point(seed=seed) for seed in range(5)]


def texts(points):
  return {p.text() for p in points}


def test_points_are_forgotten_one_by_one(tmp_path):
  failures.write(tmp_path, POINTS[:3], "ValueError: first", "...")
  failures.write(tmp_path, POINTS[3:], "ValueError: second", "...")
  failures.forget(tmp_path, POINTS[1:4])
  assert failures.read(tmp_path) == {
    POINTS[0].text(): "ValueError: first", POINTS[4].text(): "ValueError: second",
  }  # fmt: skip
  failures.forget(tmp_path, [POINTS[0]])
  failures.forget(tmp_path, POINTS)
  assert failures.read(tmp_path) == {} and list(tmp_path.iterdir()) == []


def test_a_point_s_last_failure_is_the_only_one(tmp_path):
  failures.write(tmp_path, POINTS, "ValueError: all", "...")
  failures.write(tmp_path, POINTS[:2], "ValueError: two", "...")
  found = failures.read(tmp_path)
  assert [found[p.text()] for p in POINTS] == ["ValueError: two"] * 2 + ["ValueError: all"] * 3


def attempts(entries):
  return {text: content["attempt"] for content in entries.values() for text in content["points"]}


def test_an_attempt_is_told_from_another_and_what_is_known_is_not_read_again(tmp_path, monkeypatch):
  assert failures.entries(tmp_path, {}) == {}
  failures.write(tmp_path, POINTS[:2], "ValueError: it", "...")
  known = failures.entries(tmp_path, {})
  before = attempts(known)
  assert before.keys() == texts(POINTS[:2]) and len(set(before.values())) == 1
  with monkeypatch.context() as patch:
    patch.setattr(failures, "_checked", None)
    assert failures.entries(tmp_path, known) == known
  failures.write(tmp_path, POINTS[:1], "ValueError: it", "...")  # the same again, elsewhere
  after = attempts(failures.entries(tmp_path, known))
  assert after[POINTS[0].text()] != before[POINTS[0].text()]
  assert after[POINTS[1].text()] == before[POINTS[1].text()]


@pytest.mark.parametrize(
  "content",
  (b"", b"{", b"17", b'{"points": 3}', b'{"why": 1, "attempt": "a", "points": []}',
   b'{"why": "x", "attempt": "a", "points": [1]}', b"\xff", b"[" * 100_000),
  ids=lambda content: repr(content[:30]),
)  # fmt: skip
def test_a_damaged_one_is_named_once_set_aside_and_no_run_is_lost(tmp_path, monkeypatch, content):
  told = []
  monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
  failures.write(tmp_path, POINTS[:1], "ValueError: it", "...")
  path = tmp_path / "failures" / "00000000.json"
  path.write_bytes(content)
  for _ in range(2):
    assert failures.read(tmp_path) == {POINTS[0].text(): "ValueError: it"}
  failures.forget(tmp_path, POINTS)
  assert len(told) == 1 and str(path) in told[0]
  assert [p.read_bytes() for p in (tmp_path / "damaged").iterdir()] == [content]
  assert not (tmp_path / "failures").exists()
