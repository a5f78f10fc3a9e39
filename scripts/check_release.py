"""Installs a built wheel into an empty environment and uses it as a reader of the documentation would.

  python3.11 scripts/check_release.py dist/qnn_jax-1.0.0-py3-none-any.whl

The environment is temporary and has the Python that runs this script. It is made outside the checkout, so
that nothing but the wheel and what it depends on can be imported. Needs a package index.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import venv

LIBRARY = """
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
from flax import nnx

import qnn_jax

assert qnn_jax.__version__ == "{version}", qnn_jax.__version__
assert "site-packages" in qnn_jax.__file__, qnn_jax.__file__
assert (pathlib.Path(qnn_jax.__file__).parent / "py.typed").exists()
for name in ("sklearn", "ml_collections", "tensorflow_datasets", "matplotlib"):
  assert importlib.util.find_spec(name) is None, f"{{name}} is installed without an extra"


class Net(nnx.Module):
  def __init__(self, rngs):
    self.hidden = nnx.Linear(2, 8, rngs=rngs)
    self.head = nnx.Linear(8, 1, rngs=rngs)

  def __call__(self, x):
    return self.head(jax.nn.sigmoid(self.hidden(x)))


net, x = Net(nnx.Rngs(0)), jnp.ones((4, 2))
before = net(x)
qnn_jax.replace(net, {{"head": "qnn"}})
assert type(net.head) is qnn_jax.QuadraticLinear
assert bool(jnp.allclose(net(x), before))
grads = nnx.grad(lambda net: (net(x) ** 2).sum())(net)
assert bool((grads["head"]["q"][...] != 0).any())
assert qnn_jax.Classifier(4, (3,), 2, "rpqnn", rngs=nnx.Rngs(0))(jnp.ones((5, 4))).shape == (5, 2)
assert qnn_jax.inspect.matrices(net.head).shape == (1, 8, 8)
print("layer, gradient, replace, Classifier, inspect: as documented")
"""

SKLEARN = """
from sklearn.datasets import make_circles

from qnn_jax.sklearn import QuadraticLogisticRegression

X, y = make_circles(300, noise=0.1, factor=0.6, random_state=0)
score = QuadraticLogisticRegression().fit(X, y).score(X, y)
assert score > 0.95, score
print("scikit-learn: as documented")
"""

CONFIG = """
from ml_collections import ConfigDict


def get_config():
  return ConfigDict({"seeds": 3, "slope": 0.5})
"""

EXPERIMENT = """
import csv
import pathlib
import sys

from qnn_jax.command import main
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.task import Task


def run(group, job):
  for point in group.points:
    yield Row(point, {"height": point["slope"] * point["seed"]})


sys.argv = ["line", "--workdir=out", "--workers=1", "--sweep.slope=0.5,1.0"]
try:
  main(Experiment(Task("line", {"seeds": "seed"}, run), default_config="line.py"))
except SystemExit as end:
  assert not end.code, end.code
rows = list(csv.DictReader(pathlib.Path("out/results.csv").read_text().splitlines()))
assert [float(row["height"]) for row in rows] == [0.0, 0.5, 1.0, 0.0, 1.0, 2.0], rows
page = pathlib.Path("out/report.html").read_text("utf-8")
assert "6 of 6 runs finished" in page and page.endswith("</html>\\n"), page[:2000]
print("an experiment, a sweep, report.html: as documented")
"""


def check(wheel: pathlib.Path) -> None:
  """Installs the wheel and uses it; raises subprocess.CalledProcessError if something does not work."""
  match = re.fullmatch(r"qnn_jax-([^-]+)-py3-none-any\.whl", wheel.name)
  if not match or not wheel.is_file():
    sys.exit(f"error: {wheel} is no wheel of qnn_jax; `make dist` builds one")
  with tempfile.TemporaryDirectory() as folder:
    environment = pathlib.Path(folder) / "environment"
    venv.create(environment, symlinks=True, with_pip=True)
    python = environment / "bin" / "python"

    def run(*arguments):
      # -I: nothing may be imported from PYTHONPATH or from the current folder.
      subprocess.run([python, "-I", *arguments], check=True, cwd=folder)

    def install(requirement):
      run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)

    install(str(wheel.resolve()))
    run("-W", "error::DeprecationWarning:qnn_jax", "-c", LIBRARY.format(version=match[1]))
    install(f"{wheel.resolve()}[sklearn]")
    run("-c", SKLEARN)
    install(f"{wheel.resolve()}[experiments]")
    (pathlib.Path(folder) / "line.py").write_text(CONFIG)
    run("-c", EXPERIMENT)
    run("-m", "pip", "--disable-pip-version-check", "check")
  print(f"{wheel.name} works in an empty environment of Python {sys.version.split()[0]}")


if __name__ == "__main__":
  if len(sys.argv) != 2:
    sys.exit(
      "error: give one wheel: python3 scripts/check_release.py dist/qnn_jax-VERSION-py3-none-any.whl"
    )
  check(pathlib.Path(sys.argv[1]))
