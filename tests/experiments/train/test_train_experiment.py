"""experiments.train: its numbers beside a plain loop's, what it writes, when it stops, what it refuses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from command_line import ROOT
from flax import nnx
from in_process import files, read_csv, run, store_of
from tensorboardX.proto.event_pb2 import Event
from trainings import EXPERIMENT, metrics, parameters, small, train

from experiments.train.batches import Batches, choose
from experiments.train.program import program_of
from experiments.train.task import check, check_data
from qnn_jax import QuadraticLinear, models
from qnn_jax.datasets import open_split
from qnn_jax.errors import InputError
from qnn_jax.sweeps.trained import load_model


def row_of(workdir):
  """Metrics and status of the only run."""
  (found,) = store_of(EXPERIMENT, workdir).found.values()
  return dict(found.metrics) | {"status": found.status}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("train")
  train(small(), workdir)
  return workdir


def plain_loop(config):
  """The training written out: Flax and optax alone, one sample after another in the loss."""
  images = open_split(config.dataset, config.train_split)
  batches = Batches(
    images, choose(config.train_size, len(images), 0), 0, config.batch_size, config.epochs
  )
  network = models.Network("mlp", hidden=tuple(config.hidden), head=config.head)
  model = models.build(network, images.shape, images.classes, rngs=nnx.Rngs(jax.random.key(0)))
  graph, params = nnx.split(model)
  optimizer = optax.adamw(config.learning_rate, weight_decay=0.0)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state, x, y):
    def loss(params):
      model = nnx.merge(graph, params)
      of_sample = lambda x, y: -jax.nn.log_softmax(model(x[None])[0])[y]
      return jnp.mean(jnp.stack([of_sample(x[i], y[i]) for i in range(config.batch_size)]))

    value, grads = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, value

  losses = []
  for i in range(len(batches)):
    x, y = batches[i]
    params, state, value = step(params, state, x.astype(np.float32) / 255 - 0.5, y)
    losses.append(float(value))
  return nnx.merge(graph, params), losses


def test_it_is_the_plain_loop(finished):
  config = small()
  model, losses = plain_loop(config)
  ours = parameters(finished)
  for path, leaf in nnx.to_flat_state(nnx.state(model)):
    np.testing.assert_allclose(ours[path], leaf[...], rtol=1e-4, atol=1e-5)
  # Lines at steps 3, 4 (the epoch's end), 6, 8, 9, 12: each the mean since the one before.
  lines = metrics(finished)
  assert [line["step"] for line in lines] == [3, 4, 6, 8, 9, 12]
  ends = [0, *(line["step"] for line in lines)]
  means = [np.mean(losses[a:b]) for a, b in zip(ends, ends[1:])]
  np.testing.assert_allclose([line["train_loss"] for line in lines], means, rtol=1e-4)
  test = open_split("digits", "test[:100]")
  x, y = test.batch(np.arange(100))
  logits = model(x.astype(np.float32) / 255 - 0.5)
  row = row_of(finished)
  assert row["accuracy"] == pytest.approx(100 * float((logits.argmax(-1) == y).mean()))
  assert row["loss"] == pytest.approx(
    float(optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()), rel=1e-4
  )
  confusion = np.zeros((10, 10), int)
  np.add.at(confusion, (y, np.asarray(logits.argmax(-1))), 1)
  np.testing.assert_array_equal(np.reshape(row["confusion"], (10, 10)), confusion)
  assert row["curve_train_loss"] == pytest.approx(np.reshape(losses, (3, 4)).mean(1), rel=1e-4)
  assert row["parameters"] == models.count_parameters(model)


def test_what_it_writes(finished):
  written = files(finished)
  assert {"results.csv", "train.md", "train.csv", "train.png"} <= written.keys()
  (row,) = read_csv(finished / "results.csv")
  assert row["status"] == "ok" and row["epochs_run"] == "3"
  model = load_model(finished)
  assert isinstance(model.layers[-1], QuadraticLinear)
  # A checkpoint of the end stays with keep_params.
  (folder,) = (finished / "training").iterdir()
  assert [path.name for path in (folder / "checkpoints").iterdir()] == ["12"]


def test_tensorboard_s_file_tells_what_the_lines_do(finished):
  (path,) = (finished / "training").glob("*/events.out.tfevents.*")
  content, found = path.read_bytes(), {}
  while content:  # records: length 8 bytes, checksum 4, the event, checksum 4
    length = int.from_bytes(content[:8], "little")
    event = Event.FromString(content[12 : 12 + length])
    for value in event.summary.value:
      assert (event.step, value.tag) not in found
      found[event.step, value.tag] = value.simple_value
    content = content[16 + length :]
  lines = metrics(finished)
  wanted = {
    (line["step"], name): value
    for line in lines
    for name, value in line.items()
    if name != "step" and value is not None
  }
  assert found.keys() == wanted.keys()
  for key, value in wanted.items():
    assert found[key] == pytest.approx(value, rel=1e-6)


def test_seeds_differ_and_a_rate_is_no_other_program(tmp_path):
  program_of.cache_clear()
  config = small(seeds=2, keep_params=False, log_every=0)
  train(config, tmp_path, {"learning_rate": "0.001,0.002", "weight_decay": "0.1,0.2"})
  assert program_of.cache_info().misses == 1
  rows = read_csv(tmp_path / "results.csv")
  assert len(rows) == 8 and len({row["loss"] for row in rows}) == 8
  assert not list((tmp_path / "training").glob("*/checkpoints"))
  assert not list((tmp_path / "training").glob("*/metrics.jsonl"))
  # The same run alone.
  alone = tmp_path / "alone"
  config.update({"learning_rate": 0.002, "weight_decay": 0.1, "seeds": 1})
  train(config, alone)
  assert read_csv(alone / "results.csv")[0]["loss"] in {row["loss"] for row in rows}


def test_it_stops_when_validation_gets_no_better_and_keeps_the_best(tmp_path):
  config = small(
    validation_split="test[100:200]", patience=2, epochs=40, optimizer="adam", learning_rate=0.05,
    train_size=32, head="ann", log_every=0,
  )  # fmt: skip
  train(config, tmp_path)
  row = row_of(tmp_path)
  losses = row["curve_watched_loss"]
  assert row["best_epoch"] == int(np.argmin(losses)) + 1
  assert row["epochs_run"] == row["best_epoch"] + 2 < 40
  assert row["ended"] == f"no lower validation loss since epoch {row['best_epoch']}"
  model, images = load_model(tmp_path), open_split("digits", "test[100:200]")
  x, y = images.batch(np.arange(100))
  logits = model(x.astype(np.float32) / 255 - 0.5)
  loss = float(optax.softmax_cross_entropy_with_integer_labels(logits, y).mean())
  assert loss == pytest.approx(min(losses), rel=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence(tmp_path, capsys):
  config = small(optimizer="sgd", learning_rate=1e30, epochs=5, keep_params=False)
  train(config, tmp_path)
  row = row_of(tmp_path)
  assert row["status"] == "diverged" and row["accuracy"] is None
  assert row["ended"].startswith("the loss became ") and row["ended"].endswith(" at step 2")
  assert "diverged" in (tmp_path / "results.csv").read_text()
  assert row["ended"] in (tmp_path / "train.md").read_text()
  for line in metrics(tmp_path):
    assert line["train_loss"] is None or np.isfinite(line["train_loss"])


@pytest.mark.parametrize(
  "changes",
  [
    {"network": "cnn", "channels": (2, 3), "conv_kinds": ("rpqnn",), "hidden_kinds": ("heavy",), "head": "lowrank:2"},
    {"hidden": (), "head": "qnn", "loss": "sigmoid", "dtype": "bfloat16", "label_smoothing": 0.1},
    {"optimizer": "lion", "schedule": "warmup_cosine", "warmup_steps": 3, "clip": 1.0, "quadratic_learning_rate": 1e-4},
    {"resize": (5, 7), "parameters": 880, "hidden": (3,), "evaluate_every": 0, "activation": "sigmoid"},
  ],
  ids=["cnn", "single", "lion", "resized"],
)  # fmt: skip
def test_other_networks_and_optimisers(changes, tmp_path):
  train(small(epochs=1, **changes), tmp_path)
  row = row_of(tmp_path)
  assert row["status"] == "ok" and np.isfinite(row["loss"])
  state = nnx.state(load_model(tmp_path))
  assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32")}
  assert sum(leaf.size for leaf in jax.tree.leaves(state)) == row["parameters"]
  if changes.get("parameters"):
    assert abs(row["parameters"] / 880 - 1) <= 0.02


@pytest.mark.parametrize(
  "changes, told",
  [
    ({"head": "quadratic"}, "^head: unknown head 'quadratic'; choose one of ann, qnn"),
    ({"hidden_kinds": ("qn",)}, "^hidden_kinds: unknown head 'qn'"),
    ({"hidden_kinds": ()}, "^hidden_kinds must name one kind for all layers"),
    (
      {"hidden_kinds": ("ann", "qnn")},
      r"^hidden_kinds must name .*, 1 by hidden, got \('ann', 'qnn'\)$",
    ),
    ({"input_shift": 1e300}, "^input_shift must be from -1000 to 1000"),
    ({"optimizer_arguments": "weight_decay=0.1"}, "^weight_decay is a field of its own"),
    ({"optimizer_arguments": "b1=0.9)(b2=0.5"}, "^optimizer_arguments must be arguments such as"),
    ({"optimizer_arguments": "b1=0.9, b1=0.8"}, "^optimizer_arguments must be arguments such as"),
    ({"optimizer_arguments": "b1=" + "-" * 5000 + "1"}, "^optimizer_arguments must be arguments"),
    ({"network": "rnn"}, "^network must be one of mlp, cnn, got 'rnn'$"),
    ({"loss": "hinge"}, "^loss must be one of softmax, sigmoid, got 'hinge'$"),
    ({"dtype": "int8"}, "^dtype must be one of float32, bfloat16"),
    ({"patience": 3}, "^patience stops at the loss of a validation split: name one"),
    ({"batch_size": 0}, "^batch_size must be a whole number of at least 1"),
    ({"learning_rate": 0.0}, "^learning_rate must be a positive number"),
    ({"clip": -1.0}, "^clip must be a finite number of at least 0"),
    ({"resize": (8,)}, r"^resize must be \(height, width\) or \(\), got \(8,\)$"),
    ({"optimizer_arguments": "0.9"}, "^optimizer_arguments must be arguments such as"),
    ({"optimizer_arguments": "b1="}, "^optimizer_arguments must be arguments such as"),
    ({"label_smoothing": 1.0}, "^label_smoothing must be at least 0 and below 1, got 1.0$"),
    ({"network": "cnn", "channels": ()}, "^channels must name at least one convolution"),
  ],
)
def test_what_makes_no_sense_is_refused(changes, told):
  with pytest.raises(InputError, match=told):
    check(small(**changes))


@pytest.mark.parametrize(
  "changes, told",
  [
    ({"optimizer": "adamv"}, "^there is no optimiser 'adamv'; did you mean adam or"),
    ({"optimizer": "adam", "optimizer_arguments": "b3=0.1"}, "adam' has no argument 'b3'"),
    ({"schedule": "cosin"}, "^there is no schedule 'cosin'; did you mean cosine"),
    ({"warmup_steps": 100}, "^a schedule needs steps of at least 1, and warmup_steps from 0"),
    ({"dataset": "digitz"}, "holds no data set digitz"),
    ({"test_split": "validation"}, "validation"),
    ({"train_size": 5000}, "^train_size is 5,000, but the split train of digits has"),
    ({"train_size": 10}, "^batch_size is 16, more than the 10 images of the training$"),
    ({"activation": "relo"}, "relo"),
    ({"parameters": 5}, "^no network of the head qnn has 5 parameters to 2 %"),
    ({"test_split": "train[10%:20%]"}, "^test_split is train.10%:20%., and 143 of its 143 images are in"),
    ({"train_split": "all"}, "^test_split is test.:100., and 100 of its 100 images are in train_split"),
    ({"hidden": (10**7, 10**7)}, "^training [0-9,]+ parameters would take"),
    ({"resize": (10**5, 10**5)}, "would take"),
    ({"network": "cnn", "channels": (2, 2, 2, 2)}, "pool"),
  ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_on_disk(changes, told):
  with pytest.raises(InputError, match=told) as error:
    check_data(small(**changes))
  assert "\n" not in str(error.value)


def test_a_swept_head_has_a_section_a_value(tmp_path):
  run(EXPERIMENT, small(epochs=1, log_every=0), tmp_path, {"head": "ann,heavy"})
  text = (tmp_path / "train.md").read_text()
  assert text.startswith("# train, by head\n") and text.count("\n## head = ") == 2
  assert [row["head"] for row in read_csv(tmp_path / "results.csv")] == ["ann", "heavy"]


def test_the_configs_of_the_documentation(monkeypatch):
  monkeypatch.setattr(models._build, "_OWN", {})
  text = (ROOT / "docs" / "train.md").read_text("utf-8")
  blocks = [
    block for block in re.findall(r"```py\n(.*?)```", text, re.DOTALL) if "get_config" in block
  ]
  assert len(blocks) == 2
  for block in blocks:
    names: dict = {}
    exec(compile(block, "docs/train.md", "exec"), names)
    config = names["get_config"]()
    check(config)
    if config.network == "mynet":
      config.update({"dataset": "digits", "train_size": 100})
      check_data(config)
