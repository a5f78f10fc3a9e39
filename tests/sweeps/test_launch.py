"""Sweeps that are run, stopped, damaged and run again: nothing is lost and nothing done twice."""

import contextlib
import multiprocessing
import shutil

import jax
import numpy as np
import pytest

from configs import table4
from qnn_jax.datasets import Mnist, load_mnist
from qnn_jax.errors import InputError
from qnn_jax.reports.summary import Run
from qnn_jax.sweeps import launch, records, shard
from qnn_jax.sweeps.grid import grid
from qnn_jax.sweeps.shard import Compiled, Finished, Shard, Trained

SIZE, MARKS, SEEDS = 40, (2, 5), 3
ONE_PASS = SIZE * SEEDS


def make_grid(**changes):
  config = table4.get_config("smoke")
  config.update(train_sizes=(SIZE,), epochs=MARKS, hidden=(3,), models=("ann", "qnn"), seeds=SEEDS)
  # So fast that 200 samples suffice for seeds and models to differ.
  config.update(learning_rate=0.5, init_scale=0.02, input_shift=0.0, init="positive")
  config.update(changes)
  return grid(config)


@pytest.fixture(scope="module")
def quick():
  """A context: a few hundred digits for the data set, and each grid's programs compiled once."""
  mnist = load_mnist()
  small = Mnist(*(array[:300] for array in mnist[:2]), *(array[:400] for array in mnist[2:]))
  workers = {}

  def worker(grid, data):
    if grid not in workers:
      workers[grid] = shard.Worker(grid, data)
    return workers[grid]

  @contextlib.contextmanager
  def context():
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(launch, "load_mnist", lambda data_dir: small)
      patch.setattr(launch, "Worker", worker)
      yield

  return context


@pytest.fixture
def in_this_process(quick):
  with quick():
    yield


def messages_of(sweep, workdir, workers=1):
  return launch.run(sweep, workdir, launch.plan(sweep, workdir, workers))


def passed(messages, *, resumed):
  return sum(m.samples for m in messages if isinstance(m, Trained) and m.resumed == resumed)


def marks_of(messages):
  """The epoch marks of the runs that were told to be finished."""
  return sorted({run.epochs for m in messages if isinstance(m, Finished) for run in m.runs})


def on_disk(workdir):
  runs = records.read_records(workdir)
  assert len({(run.cell, run.seed) for run in runs}) == len(runs)
  return sorted(runs)


def record_of(workdir, mark):
  (path,) = (workdir / "records").glob(f"size{SIZE}-epochs{mark}-*.json")
  return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick):
  """An uninterrupted sweep: its messages and its directory."""
  workdir = tmp_path_factory.mktemp("whole")
  with quick():
    return list(messages_of(make_grid(), workdir)), workdir


@pytest.fixture
def interrupted(tmp_path, in_this_process):
  """The directory of a sweep that was stopped in the middle of the passes to the second mark."""
  messages = messages_of(make_grid(), tmp_path)
  for message in messages:
    if isinstance(message, Finished):
      break
  assert isinstance(next(messages), Trained)  # a pass that is lost
  messages.close()
  return tmp_path


def test_a_sweep_does_every_cell_and_seed_once(whole):
  messages, workdir = whole
  runs = on_disk(workdir)
  assert sorted(run for m in messages if isinstance(m, Finished) for run in m.runs) == runs
  assert {(run.cell, run.seed) for run in runs} == {
    (cell, seed)
    for mark in MARKS
    for cell in make_grid().cells(SIZE, mark)
    for seed in range(SEEDS)
  }
  assert {run.status for run in runs} == {"ok"}
  assert len({run.accuracy for run in runs}) > 6  # of twelve: they are different runs
  assert passed(messages, resumed=False) == max(MARKS) * ONE_PASS
  assert passed(messages, resumed=True) == 0
  assert sum(m.seconds for m in messages if isinstance(m, Compiled)) > 0
  assert not any((workdir / "checkpoints").iterdir())


def test_what_is_told_is_on_disk_already(tmp_path, whole, in_this_process):
  told = []
  for message in messages_of(make_grid(), tmp_path):
    if isinstance(message, Finished):
      told += message.runs
      assert on_disk(tmp_path) == sorted(told)
  assert on_disk(tmp_path) == on_disk(whole[1])


def test_the_same_sweep_again_trains_nothing(whole, in_this_process):
  _, workdir = whole
  before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
  todo = launch.plan(make_grid(), workdir, 4)
  assert todo.workers == 0
  assert list(launch.run(make_grid(), workdir, todo)) == []
  assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_stopped_sweep_carries_on_from_its_last_mark(interrupted, whole):
  assert {run.epochs for run in on_disk(interrupted)} == {2}
  messages = list(messages_of(make_grid(), interrupted))
  assert passed(messages, resumed=True) == 2 * ONE_PASS
  assert passed(messages, resumed=False) == 3 * ONE_PASS
  assert marks_of(messages) == [5]
  assert on_disk(interrupted) == on_disk(whole[1])


def test_between_marks_that_are_far_apart_there_are_checkpoints(
  tmp_path, in_this_process, monkeypatch
):
  monkeypatch.setattr(shard, "_A_CHECKPOINT", 3 * SIZE - 1)  # every other pass
  assert shard._stops((5, 6, 9), SIZE) == [2, 4, 5, 6, 8, 9]
  sweep, ends = make_grid(epochs=(5,)), []
  for name in ("whole", "stopped"):
    workdir, new = tmp_path / name, 0
    workdir.mkdir()
    if name == "stopped":
      for message in (messages := messages_of(sweep, workdir)):
        new += message.samples if isinstance(message, Trained) else 0
        if new == 5 * ONE_PASS:
          break
      messages.close()
      (path,) = (workdir / "checkpoints").iterdir()  # the one before is gone
      assert "-epochs4-" in path.name
    for message in messages_of(sweep, workdir):
      new += message.samples if isinstance(message, Trained) and not message.resumed else 0
      if isinstance(message, Finished):
        ends.append(records.read_checkpoint(workdir, SIZE, range(SEEDS)))
    assert new == (5 if name == "whole" else 6) * ONE_PASS
    assert not any((workdir / "checkpoints").iterdir())
  assert ends[0][0] == 5
  jax.tree.map(np.testing.assert_array_equal, *ends)  # to the last bit


def test_another_number_of_workers_carries_on_too(interrupted, whole):
  todo = launch.plan(make_grid(), interrupted, 2)
  assert todo.workers == 2
  messages = [
    message
    for shards in todo.shards
    for message in launch.run(make_grid(), interrupted, launch.Plan((shards,)))
  ]
  assert passed(messages, resumed=True) == 2 * ONE_PASS
  assert passed(messages, resumed=False) == 3 * ONE_PASS == todo.passes - 2 * ONE_PASS
  found = {(run.cell, run.seed): run.accuracy for run in on_disk(interrupted)}
  wanted = {(run.cell, run.seed): run.accuracy for run in on_disk(whole[1])}
  assert found == pytest.approx(wanted, abs=0.1)  # in other company to rounding
  assert not any((interrupted / "checkpoints").iterdir())


def test_a_sweep_stopped_between_a_checkpoint_and_its_record(interrupted, whole):
  record_of(interrupted, 2).unlink()
  messages = list(messages_of(make_grid(), interrupted))
  assert passed(messages, resumed=True) == 2 * ONE_PASS
  assert marks_of(messages) == [2, 5]
  assert on_disk(interrupted) == on_disk(whole[1])


def test_a_damaged_checkpoint_costs_its_passes_and_no_result(interrupted, whole):
  (path,) = (interrupted / "checkpoints").iterdir()
  path.write_bytes(path.read_bytes()[:-1])
  (path.parent / ".tmp-half-written").write_bytes(b"as a worker leaves it that is killed")
  messages = list(messages_of(make_grid(), interrupted))
  assert passed(messages, resumed=True) == 0
  assert passed(messages, resumed=False) == 5 * ONE_PASS
  assert marks_of(messages) == [5]
  assert on_disk(interrupted) == on_disk(whole[1])
  assert not any((interrupted / "checkpoints").iterdir())


def test_a_damaged_record_is_done_again(tmp_path, whole, in_this_process):
  workdir = tmp_path / "copy"
  shutil.copytree(whole[1], workdir)
  path = record_of(workdir, 2)
  path.write_bytes(path.read_bytes()[:50])
  messages = list(messages_of(make_grid(), workdir))
  assert marks_of(messages) == [2]
  assert passed(messages, resumed=False) == 2 * ONE_PASS
  assert on_disk(workdir) == on_disk(whole[1])
  assert not any((workdir / "checkpoints").iterdir())
  # A record is named by its content, so that the same results have mended it.
  assert path.read_bytes() == record_of(whole[1], 2).read_bytes()


def test_what_others_have_finished_is_not_planned_again(tmp_path, whole):
  runs = on_disk(whole[1])
  records.write_record(tmp_path, [run for run in runs if run.epochs == 2 and run.seed != 1])
  records.write_record(tmp_path, [run for run in runs if run.epochs == 5 and run.seed == 0])
  todo = launch.plan(make_grid(), tmp_path, 1)
  # Not together: seed 1 has further to go.
  assert todo.shards == ((Shard(SIZE, (1,), (2, 5)), Shard(SIZE, (2,), (5,))),)
  assert todo.passes == 2 * 5 * SIZE


def test_an_overflow_is_told_of_and_the_sweep_goes_on(tmp_path, in_this_process):
  sweep = make_grid(init_scale=3e38, train_sizes=(5, 20), epochs=(1, 2))
  messages = list(messages_of(sweep, tmp_path))
  runs = on_disk(tmp_path)
  assert len(runs) == 2 * 2 * 2 * SEEDS
  assert {run.train_size for run in runs if run.status == "diverged"} == {5, 20}
  assert all(0 <= run.accuracy <= 100 for run in runs)
  assert passed(messages, resumed=False) == (5 + 20) * 2 * SEEDS
  assert launch.plan(sweep, tmp_path, 1).workers == 0  # diverged is finished


def test_one_process_computes_in_float64_if_it_is_asked_to(tmp_path, in_this_process):
  sweep = make_grid(dtype="float64", models=("ann",), epochs=(1,), method="scan")
  for message in messages_of(sweep, tmp_path):
    if isinstance(message, Finished):
      _, params = records.read_checkpoint(tmp_path, SIZE, (0, 1, 2))
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float64")}
  assert not jax.config.jax_enable_x64  # what others compute in this process stays as it was


def test_a_size_beyond_the_data_set_is_told_before_anything_starts(tmp_path, in_this_process):
  with pytest.raises(InputError, match="train_sizes holds 301, but the data set has 300 training"):
    list(messages_of(make_grid(train_sizes=(40, 301)), tmp_path))
  assert list(tmp_path.iterdir()) == []


def test_a_missing_data_directory_is_told_before_anything_starts(tmp_path):
  with pytest.raises(InputError, match="nowhere is not a directory"):
    list(messages_of(make_grid(data_dir=str(tmp_path / "nowhere")), tmp_path, workers=2))
  assert list(tmp_path.iterdir()) == []


def test_an_accelerator_is_not_shared(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  with pytest.raises(InputError, match="--workers must be 1 on an accelerator, .* got 2$"):
    launch.plan(make_grid(), tmp_path, 2)
  assert launch.plan(make_grid(), tmp_path, 1).workers == 1


@pytest.mark.parametrize("workers", (0, -1))
def test_fewer_than_one_worker(tmp_path, workers):
  with pytest.raises(InputError, match=f"--workers must be at least 1, got {workers}$"):
    launch.plan(make_grid(), tmp_path, workers)


def test_the_workers_share_the_seeds_of_every_size(tmp_path):
  todo = launch.plan(make_grid(train_sizes=(40, 20), seeds=5), tmp_path, 2)
  assert todo.shards == (
    (Shard(20, (0, 1, 2), MARKS), Shard(40, (0, 1, 2), MARKS)),
    (Shard(20, (3, 4), MARKS), Shard(40, (3, 4), MARKS)),
  )


@pytest.mark.parametrize(
  "finished, shards",  # the seeds that have a run at each mark; each worker's seeds
  [
    ({2: (0, 1, 2)}, ([(3, 4)], [(0, 1, 2)])),  # as when two workers were stopped
    ({2: (0, 1, 2, 3), 5: (0, 1)}, ([(2, 3)], [(4,)])),
    ({2: (2, 3, 4), 5: (2, 3, 4)}, ([(0,)], [(1,)])),  # one worker had finished
    ({2: (1,)}, ([(0, 2), (1,)], [(3, 4)])),
    ({2: (0, 1, 3, 4), 5: (4,)}, ([(0, 1)], [(2,), (3,)])),  # seed 2 has further to go
  ],
)
def test_seeds_that_came_equally_far_stay_together_and_nobody_is_idle(tmp_path, finished, shards):
  sweep = make_grid(seeds=5)
  for mark, seeds in finished.items():
    cells = sweep.cells(SIZE, mark)
    runs = [Run(c.model, SIZE, mark, c.hidden, seed, 90.0) for c in cells for seed in seeds]
    records.write_record(tmp_path, runs)
  todo = launch.plan(sweep, tmp_path, 2)
  assert tuple([shard.seeds for shard in mine] for mine in todo.shards) == shards


def test_the_default_is_a_worker_a_core_with_seeds_enough(monkeypatch):
  monkeypatch.setattr(launch, "_cores", lambda: 3)
  assert [launch.default_workers(seeds) for seeds in (1, 4, 5, 25)] == [1, 1, 2, 3]
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert launch.default_workers(25) == 1


def test_the_worker_with_the_least_to_train_tests_for_all_if_that_pays():
  def tester(sizes, epochs, *seeds):
    shards = tuple(tuple(Shard(size, tuple(range(n)), epochs) for size in sizes) for n in seeds)
    return launch._tester(make_grid(train_sizes=sizes, epochs=epochs), launch.Plan(shards))

  table4, marks = (600, 1200, 6000, 60000), (5, 10, 20)
  assert tester(table4, marks, 13, 12) == 1
  assert tester(table4, marks, 12, 13) == 0
  assert tester(table4, marks, 4, 4, 4, 4, 3, 3, 3) == 4
  assert tester(table4, marks, 12, 12) is None  # nobody is ahead
  assert tester(table4, marks, *[2] * 46, 1) is None  # too much for one
  assert tester((600, 1200), marks, 13, 12) is None  # hardly trains longer than it tests
  assert tester(table4, marks, 25) is None


def test_a_checkpoint_past_a_mark_not_tested_gives_way_to_the_one_before_it(interrupted, whole):
  # As when the worker that tests for others is behind: a second mark reached, the first not tested.
  record_of(interrupted, 2).unlink()
  params = records.read_checkpoint(interrupted, SIZE, range(SEEDS))[1]
  records.write_checkpoint(interrupted, SIZE, range(SEEDS), 5, params)
  messages = list(messages_of(make_grid(), interrupted))
  assert passed(messages, resumed=True) == 2 * ONE_PASS
  assert on_disk(interrupted) == on_disk(whole[1])
  assert not any((interrupted / "checkpoints").iterdir())


def test_two_processes_find_what_one_finds_though_one_of_them_is_killed(tmp_path, monkeypatch):
  """On the whole data set: every process loads it by itself. The second worker tests for both."""
  monkeypatch.setattr(launch, "_A_TEST", 0)
  sweep = make_grid()
  messages = messages_of(sweep, tmp_path / "two", workers=2)
  (tmp_path / "two").mkdir()
  assert isinstance(next(messages), Compiled)
  victim, other = multiprocessing.active_children()
  victim.kill()
  with pytest.raises(RuntimeError, match="worker . died with exit code -9; the same command"):
    list(messages)
  assert not victim.is_alive() and not other.is_alive()

  again = list(messages_of(sweep, tmp_path / "two", workers=2))
  assert not multiprocessing.active_children()
  assert marks_of(again)[-1] == 5
  assert not any((tmp_path / "two" / "checkpoints").iterdir())
  two = on_disk(tmp_path / "two")
  (tmp_path / "one").mkdir()
  assert passed(messages_of(sweep, tmp_path / "one"), resumed=False) == 5 * ONE_PASS
  one = on_disk(tmp_path / "one")
  assert [run._replace(accuracy=0) for run in two] == [run._replace(accuracy=0) for run in one]
  np.testing.assert_allclose(
    [run.accuracy for run in two], [run.accuracy for run in one], rtol=0, atol=0.1
  )


def test_many_seeds_go_in_parts_that_begin_as_fewer_seeds_do(tmp_path):
  """200 seeds are parts of 12 and 13, the first two of them what 25 seeds are in two workers."""
  few, many = (launch.plan(make_grid(seeds=seeds), tmp_path, 2).shards for seeds in (25, 200))
  parts = sorted(shard.seeds for mine in many for shard in mine)
  assert [seed for part in parts for seed in part] == list(range(200))
  assert {len(part) for part in parts} == {12, 13} and [len(mine) for mine in many] == [8, 8]
  assert sorted(shard.seeds for mine in few for shard in mine) == parts[:2]
