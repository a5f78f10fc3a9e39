"""prepare.py, as far as it goes without TensorFlow: IDX files, and its sentences."""

import gzip
import importlib
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest
from tensorflow_datasets.core import hashing

from qnn_jax.datasets import describe, open_split
from qnn_jax.errors import InputError

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
RNG = np.random.default_rng(0)
IMAGES = {"train": RNG.integers(0, 256, (21, 5, 7), np.uint8)}
IMAGES["test"] = RNG.integers(0, 256, (8, 5, 7), np.uint8)
LABELS = {"train": np.arange(21, dtype=np.uint8) % 13, "test": np.arange(8, dtype=np.uint8)}


@pytest.fixture(scope="module")
def script():
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module("prepare")
  assert "tensorflow" not in sys.modules  # None of these tests may need it.


def idx(array):
  header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
  return header + array.tobytes()


def write_idx(folder, images=IMAGES, labels=LABELS, before="", dot="-", pack=None, test="t10k"):
  """The four IDX files; `pack` compresses them."""
  folder.mkdir(exist_ok=True, parents=True)
  for split in images:
    for kind, array in (("images", images[split]), ("labels", labels[split])):
      name = f"{before}{split.replace('test', test)}-{kind}{dot}idx{array.ndim}-ubyte"
      content = idx(array)
      (folder / (name + ".gz" * (pack is not None))).write_bytes(pack(content) if pack else content)
  return folder


def assert_holds(name, data_dir, images, labels, cache_dir):
  """The splits hold these images with their labels, in the order that TFDS's hash of their numbers gives."""
  for split in images:
    order = sorted(range(len(labels[split])), key=hashing.Hasher(split).hash_key)
    found = open_split(name, split, data_dir, cache_dir=cache_dir)
    pixels, numbers = found.batch(np.arange(len(found)))
    wanted = images[split][order]
    np.testing.assert_array_equal(pixels, wanted[..., None] if wanted.ndim == 3 else wanted)
    np.testing.assert_array_equal(numbers, labels[split][order])


# ---- IDX files.


@pytest.mark.parametrize(
  "spelling",
  [{"dot": "-"}, {"dot": "."}, {"dot": "-", "pack": gzip.compress}, {"dot": ".", "test": "test"}],
  ids=["original", "dot", "gzipped", "test"],
)
def test_idx_files_under_every_spelling(script, tmp_path, spelling):
  folder = write_idx(tmp_path / "idx", **spelling)
  made = script.prepare("mine", tmp_path / "out", idx_dir=folder)
  assert made == describe("mine", tmp_path / "out")
  assert (made.splits, made.shape, made.classes) == ({"train": 21, "test": 8}, (5, 7, 1), 13)
  assert_holds("mine", tmp_path / "out", IMAGES, LABELS, tmp_path / "cache")
  assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_idx_files_in_colour_of_one_split(script, tmp_path):
  images = {"train": RNG.integers(0, 256, (9, 4, 6, 3), np.uint8)}
  labels = {"train": np.arange(9, dtype=np.uint8) % 2}
  folder = write_idx(tmp_path / "idx", images, labels)
  made = script.prepare("mine", tmp_path / "out", idx_dir=folder, class_names=["no", "yes"])
  assert (made.shape, made.class_names) == ((4, 6, 3), ("no", "yes"))
  assert_holds("mine", tmp_path / "out", images, labels, tmp_path / "cache")


def test_configurations_lie_side_by_side(script, tmp_path):
  wide = {split: np.repeat(images, 2, axis=2) for split, images in IMAGES.items()}
  folder = write_idx(tmp_path / "idx", before="mine-small-")
  write_idx(folder, images=wide, before="mine-wide-")
  script.prepare("mine/wide", tmp_path / "out", idx_dir=folder)
  script.prepare("mine/small", tmp_path / "out", idx_dir=folder)
  assert describe("mine/wide", tmp_path / "out").shape == (5, 14, 1)
  assert_holds("mine/small", tmp_path / "out", IMAGES, LABELS, tmp_path / "cache")
  with pytest.raises(InputError, match="files begin with 'mine-small-', 'mine-wide-', and none of"):
    script.prepare("mine", tmp_path / "out", idx_dir=folder)


def test_what_tfds_knows_of_a_name_is_taken(script, tmp_path):
  images = {split: np.zeros((len(each), 28, 28), np.uint8) for split, each in IMAGES.items()}
  labels = {split: each % 10 for split, each in LABELS.items()}
  folder = write_idx(tmp_path / "idx", images, labels)
  made = script.prepare("fashion_mnist", tmp_path / "out", idx_dir=folder)
  assert (made.version, made.class_names[:2]) == ("3.0.1", ("T-shirt/top", "Trouser"))
  made = script.prepare("mnist", tmp_path / "out", idx_dir=folder)
  ours, theirs = pathlib.Path(made.folder), pathlib.Path(describe("mnist").folder)
  assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
  assert (ours / "features.json").read_text() == (theirs / "features.json").read_text()
  write_idx(folder)
  told = (
    r"have the shape \(5, 7, 1\), where TFDS's mnist has \(28, 28, 1\); give yours another NAME"
  )
  with pytest.raises(InputError, match="holds the label 12, where labels of 10 classes end at 9"):
    script.prepare("mnist", tmp_path / "out", idx_dir=folder)
  write_idx(folder, labels=labels)
  with pytest.raises(InputError, match=told):
    script.prepare("mnist", tmp_path / "out", idx_dir=folder)


TRAIN = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
  "content, reason",
  [
    (b"", "begins with the bytes "),
    (b"<html>", "begins with the bytes 3c68746d"),
    (idx(IMAGES["train"].reshape(-1, 7)), "begins with the bytes 00000802"),
    (idx(IMAGES["train"])[:10], "is 10 bytes long"),
    (idx(IMAGES["train"])[:-1], "is 750 bytes long"),
    (idx(IMAGES["train"]) + b"0", "is 752 bytes long"),
    (idx(IMAGES["train"][:20]), "has 20 images, where .* has 21 labels"),
    (idx(IMAGES["train"][:, :4]), r"have the shapes \[\(4, 7, 1\), \(5, 7, 1\)\]"),
    (idx(IMAGES["train"][..., None].repeat(2, 3)), "the shape"),
    (gzip.compress(idx(IMAGES["train"]))[:-20], "it must be an IDX file, gzipped or not"),
  ],
  ids=["empty", "html", "axes", "head", "short", "long", "count", "size", "channels", "gzip"],
)
def test_idx_files_that_are_none(script, tmp_path, content, reason):
  folder = write_idx(tmp_path / "idx")
  (folder / TRAIN).write_bytes(content)
  with pytest.raises(InputError, match=reason) as caught:
    script.prepare("mine", tmp_path / "out", idx_dir=folder)
  assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_idx_files_that_are_missing(script, tmp_path):
  with pytest.raises(InputError, match="nowhere is not a directory; name the folder of the IDX"):
    script.prepare("mine", tmp_path, idx_dir=tmp_path / "nowhere")
  with pytest.raises(InputError, match="holds no IDX files, which are called train-images-idx3"):
    script.prepare("mine", tmp_path, idx_dir=tmp_path)
  folder = write_idx(tmp_path / "idx")
  (folder / "t10k-labels-idx1-ubyte").unlink()
  with pytest.raises(InputError, match="has no labels of its test split"):
    script.prepare("mine", tmp_path, idx_dir=folder)


# ---- What it says.


def test_a_download_needs_tensorflow_and_says_so_first(tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      "-c",
      "import runpy, sys; sys.modules['tensorflow'] = None; sys.argv[0] = 'prepare.py'; "
      f"sys.path.insert(0, {str(SCRIPTS)!r}); runpy.run_path({str(SCRIPTS / 'prepare.py')!r}, "
      "run_name='__main__')",
      "cifar10",
      f"--data_dir={tmp_path / 'out'}",
    ],
    check=False,
    text=True,
    capture_output=True,
  )
  assert (done.returncode, done.stdout) == (1, "")
  assert done.stderr == (
    "prepare: preparing cifar10 from a download needs TensorFlow, which reading it does not: "
    "`pip install tensorflow`, or give its files with --idx_dir or --image_dir\n"
  )
  assert not (tmp_path / "out").exists()


def test_a_download_that_fails(script, tmp_path, monkeypatch):
  import tensorflow_datasets as tfds

  def fail(*args, **kwargs):
    raise OSError("the server is away. Come\nback later.")

  monkeypatch.setattr(script, "has_tensorflow", lambda: True)
  monkeypatch.setattr(tfds.download.DownloadManager, "download", fail)
  monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", fail)
  with pytest.raises(InputError) as caught:
    script.prepare("mnist", tmp_path)
  assert str(caught.value) == (
    "TFDS cannot prepare mnist (the server is away, Come back later); if you have its files, give them with "
    "--idx_dir or --image_dir"
  )
  assert list(tmp_path.iterdir()) == []
  with pytest.raises(InputError, match="^TFDS knows no nothing_like_it; give its files with"):
    script.prepare("nothing_like_it", tmp_path)


def test_nothing_is_replaced_unasked(script, tmp_path):
  folder = write_idx(tmp_path / "idx")
  script.prepare("mine", tmp_path, idx_dir=folder)
  files = {path: path.read_bytes() for path in (tmp_path / "mine" / "1.0.0").iterdir()}
  with pytest.raises(InputError, match=r"1\.0\.0 exists already; pass --overwrite to replace it$"):
    script.prepare("mine", tmp_path, idx_dir=folder)
  assert files == {path: path.read_bytes() for path in (tmp_path / "mine" / "1.0.0").iterdir()}
  write_idx(folder, labels={split: labels % 2 for split, labels in LABELS.items()})
  assert script.prepare("mine", tmp_path, idx_dir=folder, overwrite=True).classes == 2
  assert [path.name for path in (tmp_path / "mine").iterdir()] == ["1.0.0"]


def test_records_that_differ_are_found(script, tmp_path):
  folder = write_idx(tmp_path / "idx")
  made = script.prepare("mine", tmp_path, idx_dir=folder)
  source = script._image_sources.idx(folder, "mine", None)
  assert script.differences(source, pathlib.Path(made.folder)) == 0
  changed = {split: labels.copy() for split, labels in LABELS.items()}
  changed["test"][3] += 1
  write_idx(folder, labels=changed)
  source = script._image_sources.idx(folder, "mine", None)
  assert script.differences(source, pathlib.Path(made.folder)) == 2  # one too many, one missing


def test_install_puts_back_what_was_there(script, tmp_path):
  target = tmp_path / "mine" / "1.0.0"
  target.mkdir(parents=True)
  (target / "file").touch()
  with pytest.raises(OSError):
    script.install(tmp_path / "missing", target)
  assert [path.name for path in target.iterdir()] == ["file"]
  assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", ["", "Mine", "1st", "a/b/c", "../x", "a b", "/mine"])
def test_names_that_are_none(script, tmp_path, name):
  with pytest.raises(InputError, match="^NAME must be small letters, digits and _, "):
    script.prepare(name, tmp_path, idx_dir=tmp_path)


def test_sources_that_do_not_go_together(script, tmp_path):
  with pytest.raises(InputError, match="^give either --idx_dir or --image_dir, not both$"):
    script.prepare("mine", tmp_path, idx_dir=tmp_path, image_dir=tmp_path)
  with pytest.raises(InputError, match="^--class_names is for --idx_dir"):
    script.prepare("mine", tmp_path, image_dir=tmp_path, class_names=["a"])


def test_command_line(tmp_path):
  folder = write_idx(tmp_path / "idx")
  run = lambda *args: subprocess.run(
    [sys.executable, str(SCRIPTS / "prepare.py"), *args],
    check=False,
    text=True,
    capture_output=True,
  )
  done = run("mine", f"--data_dir={tmp_path}", f"--idx_dir={folder}")
  assert done.stdout == f"written: {tmp_path}/mine/1.0.0: train 21, test 8; 5 x 7 x 1, 13 classes\n"
  assert (done.returncode, done.stderr) == (0, "")
  done = run("mine")
  assert (done.returncode, done.stdout) == (1, "")
  assert done.stderr == "prepare: give the TFDS directory to write into by --data_dir\n"
