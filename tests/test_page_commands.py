"""Every command in the pages' ```sh blocks names targets, files and flags that are there."""

import pages
import pytest
import shell_commands

pytestmark = [
  pytest.mark.fast,
  pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning"),  # of ml_collections
]

SHOWN = [
  pytest.param(page, block, id=f"{pages.name(page)}:{block.line}")
  for page in pages.PAGES
  for block in pages.blocks(page, "sh")
]


@pytest.mark.parametrize("page, block", SHOWN)
def test_its_commands_are_right(page, block, monkeypatch):
  monkeypatch.chdir(pages.ROOT)  # where the commands are to be given
  text = page.read_text("utf-8")
  shown = shell_commands.commands(block.code)
  assert shown, "an empty block"
  for words in shown:
    shell_commands.check(words, text, monkeypatch)


def test_commands_of_every_sort_are_shown(monkeypatch):
  monkeypatch.chdir(pages.ROOT)
  sorts = {
    shell_commands.check(words, page.read_text("utf-8"), monkeypatch)
    for page in pages.PAGES
    for block in pages.blocks(page, "sh")
    for words in shell_commands.commands(block.code)
  }
  assert sorts == {"make", "experiment", "script", ""}


@pytest.mark.parametrize(
  "command",
  [
    "make nonesuch",
    "make train ARGS=--config.nonesuch=1",
    """make table4 ARGS="--config.models=('ann','qnn')" """,
    "python -m experiments.nonesuch",
    "python -m experiments.xor --nonesuch=1",
    "python -m experiments.xor --config=configs/xor.py:smoke --config.nonesuch=1",
    "python -m experiments.xor --sweep.nonesuch=1,2",
    "python -m experiments.train --config.head=nonesuch",
    "python -m experiments.train --sweep.learning_rate=0.1,-1.0",
    "python scripts/nonesuch.py",
    "python scripts/faults.py --nonesuch=1",
    "for i in 0 1; do X=1 python scripts/faults.py --nonesuch=1 & done; wait",
    "scripts/cluster/nonesuch.sh start",
  ],
)
def test_wrong_commands_are_found(command, monkeypatch):
  monkeypatch.chdir(pages.ROOT)
  with pytest.raises(Exception):  # noqa: B017 (by absl, ml_collections and the checks)
    for words in shell_commands.commands(command):
      shell_commands.check(words, "", monkeypatch)
