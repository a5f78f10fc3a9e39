"""Trainings that end at a certain step, as if they were killed."""

import pytest
from trainings import Killed

from experiments.train import program


@pytest.fixture
def killed_at(monkeypatch):
  """Kills a training before its n-th steps, counted over all attempts; what it returns grows by a step."""
  step, done = program.Program.step, []

  def kill(*steps):
    def dying(self, *args):
      done.append(None)
      if len(done) in steps:
        raise Killed
      return step(self, *args)

    monkeypatch.setattr(program.Program, "step", dying)
    return done

  return kill
