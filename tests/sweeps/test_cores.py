"""How many cores there are to use: those of the process, and no more than a container's limit."""

import os

import pytest

from qnn_jax.sweeps import machine

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
  ("limit", "most"),
  [
    ("100000 100000", 1),
    ("150000 100000", 2),
    ("20000 100000", 1),
    ("6400000 100000", 64),
    ("max 100000", 64),
    ("", 64),
    (None, 64),
  ],
)
def test_a_container_s_limit_counts(tmp_path, monkeypatch, limit, most):
  monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
  monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
  if limit is not None:
    (tmp_path / "cpu.max").write_text(limit)
  assert machine.cores() == most
