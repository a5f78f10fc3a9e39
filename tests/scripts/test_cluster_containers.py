"""The container file and what runs it: Kubernetes and SkyPilot, each by its own tool's rules, then for real."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import cluster_recipes as recipes
import command_line
import kubernetes_validate
import pytest
import yaml

# One run here has the last bits of another, whose environment is that of a container.
pytestmark = pytest.mark.usefixtures("as_users_compile")

DOCKERFILE = (recipes.CLUSTER / "Dockerfile").read_text("utf-8")


def instructions(name):
  """The arguments of every instruction of this name in the Dockerfile, its lines joined."""
  joined = re.sub(r"\\\n", " ", DOCKERFILE)
  return re.findall(rf"^{name} +(.*)$", joined, re.MULTILINE)


def copied():
  """What COPY takes from the checkout."""
  return [source for line in instructions("COPY") for source in line.split()[:-1]]


@pytest.mark.fast
def test_hadolint_finds_nothing():
  hadolint = recipes.tool("hadolint")
  if not hadolint:
    pytest.skip("hadolint is not installed; the extra `test` brings it")
  check = lambda text: subprocess.run(
    [hadolint, "-"], check=False, input=text, capture_output=True, text=True
  )
  assert check(DOCKERFILE).stdout == ""
  shell_form = check(re.sub(r"^ENTRYPOINT .*", "ENTRYPOINT tini python", DOCKERFILE, flags=re.M))
  assert "DL3025" in shell_form.stdout, "a shell as entry point would keep SIGTERM to itself"


@pytest.mark.fast
def test_what_is_copied_is_tracked_and_not_ignored():
  listed = (recipes.ROOT / ".dockerignore").read_text("utf-8").splitlines()
  kept = {line.removeprefix("!") for line in listed if line.startswith("!")}
  assert "*" in listed and kept == set(copied())
  tracked = subprocess.run(
    ["git", "ls-files", *copied()], check=False, cwd=recipes.ROOT, capture_output=True, text=True
  )
  if tracked.returncode:
    pytest.skip("this is no checkout of git")
  assert {path.partition("/")[0] for path in tracked.stdout.splitlines()} == set(copied())


def test_what_is_copied_is_enough_to_run(tmp_path):
  """In a place of its own, with the image's variables; without its data this would end with an error."""
  image = tmp_path / "image"
  image.mkdir()
  for source in copied():
    path, ignored = recipes.ROOT / source, shutil.ignore_patterns("__pycache__")
    if path.is_dir():
      shutil.copytree(path, image / source, ignore=ignored)
    else:
      shutil.copy(path, image / source)
  assert json.loads(instructions("ENTRYPOINT")[0]) == ["tini", "--", "python"]
  assert dict(re.findall(r"(\w+)=(\S+)", instructions("ENV")[0]))["PYTHONPATH"] == "/qnn_jax"
  assert instructions("WORKDIR") == ["/qnn_jax"]
  small = "--config.train_sizes=(20,)", "--config.hidden=(2,)", "--config.models=('ann',)"
  told = subprocess.run(
    [
      sys.executable, "-m", "experiments.table4", "--config=configs/table4.py:smoke",
      "--workers=1", f"--workdir={tmp_path}/table4", "--config.seeds=1", *small,
    ],
    check=False, cwd=image, env=os.environ | {"PYTHONPATH": str(image)},
    capture_output=True, text=True,
  )  # fmt: skip
  assert told.returncode == 0, told.stderr
  assert len(recipes.rows(tmp_path / "table4")) == 2


def documents(name):
  return list(yaml.safe_load_all((recipes.CLUSTER / name).read_text("utf-8")))


def of_kind(name, kind):
  (found,) = [document for document in documents(name) if document["kind"] == kind]
  return found


JOB, REPORT = (of_kind(f"kubernetes_{name}.yaml", "Job") for name in ("job", "report"))


def container(job):
  (only,) = job["spec"]["template"]["spec"]["containers"]
  return only


@pytest.mark.fast
@pytest.mark.parametrize("version", ["1.33", kubernetes_validate.latest_version()[:4]])
@pytest.mark.parametrize("name", ["kubernetes_job.yaml", "kubernetes_report.yaml"])
def test_kubernetes_takes_it(name, version):
  for document in documents(name):
    assert kubernetes_validate.validate(document, version, strict=True)
    document["spec"]["complettions"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="complettions"):
      kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.fast
def test_what_kubernetes_checks_beyond_its_schema():
  spec, pod = JOB["spec"], JOB["spec"]["template"]["spec"]
  assert spec["completionMode"] == "Indexed"
  # Both need it; see 'Pod failure policy' and 'Backoff limit per index' of the documentation of Jobs.
  assert pod["restartPolicy"] == "Never"
  assert spec["parallelism"] <= spec["completions"]
  (rule,) = spec["podFailurePolicy"]["rules"]
  assert rule["action"] == "Ignore" and rule["onPodConditions"][0]["type"] == "DisruptionTarget"
  (claim,) = [document["metadata"]["name"] for document in documents("kubernetes_job.yaml")[:1]]
  for job in (JOB, REPORT):
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    (mount,) = container(job)["volumeMounts"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim
    assert mount["name"] == volume["name"]
    assert "command" not in container(job), (
      "the image's entry point gets the arguments, and signals"
    )
  assert container(JOB)["image"] == container(REPORT)["image"]
  name = container(JOB)["env"][0]["valueFrom"]["resourceFieldRef"]["containerName"]
  assert name == container(JOB)["name"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The toy's rows of one command that runs all."""
  return recipes.whole(tmp_path_factory.mktemp("whole"))


def arguments(index, cores=None):
  """The command of a pod, with $(NAME) as Kubernetes puts it in."""
  cores = cores or container(JOB)["resources"]["limits"]["cpu"]
  (variable,) = container(JOB)["env"]
  values = {"JOB_COMPLETION_INDEX": str(index), variable["name"]: cores}
  return [re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], text) for text in container(JOB)["args"]]


def test_the_pods_together_do_all_each_once_and_a_retried_index_nothing_twice(tmp_path, whole):
  count, fewer = JOB["spec"]["completions"], 3
  each = []
  for i in range(fewer):  # as a user divides by another number: in --slice as in `completions`
    words = recipes.toy_arguments(arguments(i, "1"), tmp_path)
    assert f"--slice={i}/{count}" in words
    each.append([word.replace(f"/{count}", f"/{fewer}") for word in words])
  report = recipes.toy_arguments(container(REPORT)["args"], tmp_path)
  commands = [*each, each[0], report]
  ended = command_line.run_all(
    [(words[0], words[1:], command_line.TOYS) for words in commands], tmp_path
  )
  assert [command.returncode for command in ended] == [0] * len(commands), ended
  assert "written" in ended[-1].stdout
  assert recipes.rows(tmp_path / "table4") == whole
  records = [json.loads(p.read_text("utf-8")) for p in (tmp_path / "table4/records").glob("*.json")]
  assert sum(len(record["rows"]) for record in records) == len(recipes.rows(tmp_path / "table4"))


def test_a_pods_command_as_it_stands_has_a_part_of_table_4(tmp_path):
  words = [word.replace("/results", str(tmp_path)) for word in arguments(0)]
  listed = command_line.run(words[1], *words[2:], "--list")
  found = re.search(r"runs: 0 of ([\d,]+) done", listed.stdout)
  assert found, listed
  assert 0 < int(found[1].replace(",", "")) < 4500


@pytest.mark.fast
def test_the_report_is_of_what_the_pods_run():
  left = ("--slice", "--workers")
  ran = [word for word in arguments(0) if not word.startswith(left)]
  assert container(REPORT)["args"] == [*ran, "--report_only"]
  assert not any("$(" in word for word in arguments(0))


SKY = pathlib.Path(os.environ.get("SKY_PYTHON", recipes.ROOT / ".venv-sky/bin/python"))
PARSE = """
import json, sys, sky
task = sky.Task.from_yaml(sys.argv[1])
(resources,) = task.resources
print(json.dumps([task.num_nodes, resources.use_spot, list(task.storage_mounts), task.setup, task.run]))
"""


@pytest.fixture(scope="module")
def sky_task(tmp_path_factory):
  """What SkyPilot makes of the recipe."""
  if not SKY.exists():
    pytest.skip("SkyPilot has no environment in .venv-sky; .ci/run makes it")
  done = subprocess.run(
    [SKY, "-c", PARSE, recipes.CLUSTER / "skypilot.yaml"],
    check=False, cwd=recipes.ROOT, capture_output=True, text=True,
    env=os.environ | {"HOME": str(tmp_path_factory.mktemp("home"))},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_skypilot_takes_it(sky_task):
  nodes, spot, mounts, setup, run = sky_task
  recipe = yaml.safe_load((recipes.CLUSTER / "skypilot.yaml").read_text("utf-8"))
  assert (nodes, spot, mounts) == (recipe["num_nodes"], True, ["/results"])
  assert (setup, run) == (recipe["setup"], recipe["run"])


def test_skypilots_nodes_together_do_all(tmp_path, whole):
  recipe = yaml.safe_load((recipes.CLUSTER / "skypilot.yaml").read_text("utf-8"))
  run = recipes.toy(recipe["run"].strip(), tmp_path) + " --workers=1"
  checkout = recipes.toy_checkout(tmp_path)
  for rank in map(str, range(2)):
    recipes.bash(run, checkout, SKYPILOT_NODE_RANK=rank, SKYPILOT_NUM_NODES="2")
  assert recipes.rows(tmp_path / "table4") == whole
