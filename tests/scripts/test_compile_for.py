"""scripts/compile_for.py: what is refused, and what accelerators would be given."""

import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

from qnn_jax.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"


def run(*args, limit=900):
  command = [sys.executable, str(SCRIPTS / "compile_for.py"), *args]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)


@pytest.mark.parametrize(
  ("args", "says"),
  (
    (["--target=a100"], "^--target must be h100 or v5e, with :CHIPS for several, got 'a100'$"),
    (["--target=h100:0"], "^--target must be h100 or v5e, with :CHIPS for several, got 'h100:0'$"),
    (["--target=h100:9"], "^h100 can have 1, 2, 3, 4, 5, 6, 7, 8 chips here, got 9$"),
    (["--target=v5e:3"], "^v5e can have 1, 4, 8 chips here, got 3$"),
    (["--target=h100", "--config=configs/table4.py:all"], "^unknown preset 'all'"),
    (["--target=h100", "--config=configs/none.py"], "none.py"),
    (["--target=h100", "--config=configs/recipe.py"], "recipe.py has no field '.*': it is another"),
    (["--target=h100", "--config=configs/table5.py"], "table5.py has no field '.*': it is another"),
    (["--target=v5e:4", "--layers"], "^--layers compiles .* for one chip, without :4$"),
    (
      ["--target=h100", "--layers", "--config=configs/table4.py", "--net_parts=1"],
      "^--layers compiles .* for one chip, without --config, --net_parts$",
    ),
  ),
  ids=(
    "target",
    "no chips",
    "chips of h100",
    "chips of v5e",
    "preset",
    "config",
    "recipe",
    "table5",
    "layers on chips",
    "layers of a config",
  ),
)
def test_what_cannot_be_is_told_in_one_sentence(monkeypatch, args, says):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # which the script sets, and is taken back here
  monkeypatch.syspath_prepend(SCRIPTS)
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(sys, "argv", ["compile_for.py", *args])
  with pytest.raises(InputError, match=says):
    importlib.import_module("compile_for").main()


def test_a_program_that_does_not_compile_is_told_in_one_sentence(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.syspath_prepend(SCRIPTS)
  script = importlib.import_module("compile_for")

  def fails():
    raise NotImplementedError("no such operation\nand a page of reasons")

  says = r"^'run 1 x 60' does not compile there \(NotImplementedError: no such operation\)$"
  with pytest.raises(InputError, match=says):
    script.compiled(script.Program("run 1 x 60", fails, ()))


@pytest.mark.parametrize(
  ("error", "says"),
  (
    ("Run sudo rm the libtpu multi-process lockfile", "another process uses libtpu"),
    ("no such plugin", r"pip install 'qnn_jax\[compile-tpu\]' \(no such plugin\)$"),
  ),
  ids=("lock", "extra"),
)
def test_why_libtpu_cannot_be_had(monkeypatch, error, says):
  monkeypatch.syspath_prepend(SCRIPTS)
  for name in ("TPU_SKIP_MDS_QUERY", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
    monkeypatch.setenv(name, "1")
  targets = importlib.import_module("_targets")

  def fails(**_):
    raise RuntimeError(error)

  monkeypatch.setattr(targets.topologies, "get_topology_desc", fails)
  with pytest.raises(InputError, match=says):
    targets.TARGETS["v5e"].devices(1)


def test_float64_is_refused(tmp_path):
  config = tmp_path / "double.py"
  config.write_text(
    "from configs import table4\n\n\ndef get_config(preset=''):\n"
    "  config = table4.get_config('smoke')\n  config.dtype = 'float64'\n  return config\n"
  )
  done = run("--target=h100", f"--config={config}")
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith("error: float64 is for a CPU")
  assert "Traceback" not in done.stderr and not done.stdout


@pytest.mark.skipif(
  importlib.util.find_spec("jax_cuda13_plugin") is not None, reason="the extra is installed"
)
def test_without_the_extra_its_name_is_told():
  done = run("--target=h100")
  assert done.returncode == 1
  assert "pip install 'qnn_jax[compile-cuda]'" in done.stderr.splitlines()[-1]


def needs(target):
  module = {"h100": "jax_cuda13_plugin", "v5e": "libtpu"}[re.split("[ :]", target)[0]]
  extra = {"h100": "compile-cuda", "v5e": "compile-tpu"}[re.split("[ :]", target)[0]]
  missing = importlib.util.find_spec(module) is None
  marks = pytest.mark.compile, pytest.mark.skipif(missing, reason=f"the extra {extra} is missing")
  return pytest.param(target, marks=marks, id=target)


# Four chips in one part split the runs, as they do not where each kind of nets has chips of its own.
COMPILED = ("h100", "h100:4", "h100:4 --net_parts=1", "v5e", "v5e:4", "v5e:4 --net_parts=1")


@pytest.mark.parametrize("target", [needs(of) for of in COMPILED])
def test_accelerators_are_given_less_than_a_kernel_a_sample_and_chips_say_nothing(target):
  done = run(*f"--target={target}".split(), "--config=configs/table4.py:smoke")
  assert done.returncode == 0, done.stderr
  rows = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in done.stdout.splitlines()
    if line.startswith("| ")
  ]
  titles, programs = rows[0], rows[2:]
  of = lambda name: [row[titles.index(name)] for row in programs]
  trained = [row for row in programs if re.search(r"\brun \d+ x \d+$", row[0])]
  assert trained
  for row in trained:
    assert 0 < float(row[titles.index("a sample")]) <= 1
    assert int(row[titles.index("of it Pallas")]) in (10, 20, 30)  # a launch a kind and block
  assert set(of("exchanges")) == {"0"}
  assert "?" not in "".join(of("loops"))
  assert "Estimate, compiling not counted: " in done.stdout
