"""The recipes that are shell scripts: Slurm without submitit, and a TPU pod whose hosts are folders here."""

import json
import os
import pathlib
import re
import shlex
import subprocess

import cluster_recipes as recipes
import command_line
import pytest

SBATCH = recipes.CLUSTER / "slurm_distributed.sbatch"
TPU_POD = recipes.CLUSTER / "tpu_pod.sh"
SCRIPTS = sorted([*recipes.CLUSTER.glob("*.sh"), *recipes.CLUSTER.glob("*.sbatch")])


def text(path):
  return path.read_text("utf-8")


@pytest.mark.fast
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
  shellcheck = recipes.tool("shellcheck")
  if not shellcheck:
    pytest.skip("shellcheck is not installed; the extra `test` brings it")
  found = subprocess.run([shellcheck, path], check=False, capture_output=True, text=True)
  assert found.returncode == 0, found.stdout


@pytest.mark.fast
def test_the_page_names_every_recipe():
  page = text(recipes.CLUSTER / "README.md")
  missing = [p.name for p in recipes.CLUSTER.iterdir() if p.is_file() and f"`{p.name}`" not in page]
  assert missing in ([], ["README.md"])


# Slurm's: srun and scontrol are stand-ins here; tests/slurm/test_slurm_distributed.py has a Slurm.

SRUN = """
printf '%s\\n' "$@" > {folder}/srun
echo "$JAX_LOCAL_DEVICE_IDS" > {folder}/devices
exit $STATUS
"""
XOR_COMMAND = ["-m", "experiments.xor", "--config.epochs=(2,)", "--workdir=a folder"]


@pytest.fixture
def srun(tmp_path):
  """A function that runs the recipe's script as a job, with stand-ins that write into tmp_path."""
  recipes.script(tmp_path / "bin" / "srun", SRUN.format(folder=tmp_path))
  recipes.script(tmp_path / "bin" / "scontrol", f'echo "$@" > {tmp_path}/scontrol')

  def call(status=0, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "JAX_", "PYTHON"))}
    path = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "STATUS": str(status), "SLURM_JOB_ID": "7"}
    return subprocess.run(
      ["bash", SBATCH, *XOR_COMMAND], check=False, env=clean | path | environment
    ).returncode

  return call


@pytest.mark.fast
@pytest.mark.parametrize(
  "gpus, seen", [({}, ""), ({"SLURM_GPUS_ON_NODE": "4"}, "0,1,2,3")], ids=["cpu", "gpus"]
)
def test_a_task_a_node_sees_all_its_gpus(tmp_path, srun, gpus, seen):
  assert srun(SLURM_CPUS_PER_TASK="16", **gpus) == 0
  assert text(tmp_path / "srun").splitlines() == [
    "--cpus-per-task=16", "--kill-on-bad-exit=0", ".venv/bin/python", *XOR_COMMAND, "--distributed",
  ]  # fmt: skip
  assert text(tmp_path / "devices").strip() == seen


@pytest.mark.fast
@pytest.mark.parametrize("status, requeued", [(0, False), (1, False), (138, True)])
def test_a_job_carries_on_behind_its_time_limit(tmp_path, srun, status, requeued):
  assert srun(status) == status
  assert (tmp_path / "scontrol").exists() == requeued
  if requeued:
    assert text(tmp_path / "scontrol") == "requeue 7\n"


# The TPU pod's: gcloud is a stand-in; its hosts are folders of this machine, in which it runs what it is told.

GCLOUD = r"""
set -eu
python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@" >> {folder}/gcloud
worker=all command=
for word in "$@"; do
  case "$word" in --worker=*) worker="${{word#*=}}" ;; --command=*) command="${{word#*=}}" ;; esac
done
[[ "$worker" == all ]] && workers="0 1" || workers="$worker"
case "$4" in
  scp) for i in $workers; do cp "$5" "{folder}/host$i/${{6#*:}}"; done ;;
  ssh)
    pids=()
    for i in $workers; do
      # How JAX is told of its place in a pod; here, as under Open MPI.
      (cd "{folder}/host$i" && HOME="$PWD" PATH="{folder}/hostbin:$PATH" \
        OMPI_MCA_orte_hnp_uri="{job}.0;tcp://127.0.0.1:1" OMPI_COMM_WORLD_SIZE=2 \
        OMPI_COMM_WORLD_RANK="$i" OMPI_COMM_WORLD_LOCAL_RANK="$i" bash -c "$command") &
      pids+=($!)
    done
    for pid in "${{pids[@]}}"; do wait "$pid"; done ;;
esac
"""


@pytest.fixture
def pod(tmp_path):
  """A pod of two hosts: gives a function that calls tpu_pod.sh, and one for what gcloud was told."""
  # A number of a job gives a port that nobody has, of the last 4096.
  job = re.sub(r"\D", "", tmp_path.name + str(tmp_path.stat().st_ino))[-4:]
  recipes.script(tmp_path / "bin" / "gcloud", GCLOUD.format(folder=tmp_path, job=int(job)))
  (tmp_path / "results").mkdir()
  for i in range(2):
    (tmp_path / f"host{i}").mkdir()
  # What setup finds on a host: notes of how they were called.
  note = f'echo "${{0##*/}} $*" >> {tmp_path}/notes'
  recipes.script(tmp_path / "hostbin" / "python3", note)
  recipes.script(tmp_path / "hostbin" / "mountpoint", "exit 1")
  recipes.script(
    tmp_path / "hostbin" / "gcsfuse", f"{note}\nrmdir results && ln -s {tmp_path}/results results"
  )

  def call(*arguments, **environment):
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    words = shlex.join([str(TPU_POD), *arguments])
    return recipes.bash(words, tmp_path, PATH=path, PYTHONPATH="", **environment)

  told = lambda: [json.loads(line) for line in text(tmp_path / "gcloud").splitlines()]
  return call, told


XOR = {"EXPERIMENT": "xor", "CONFIG": "configs/xor.py:smoke", "PLATFORM": "cpu"}


def test_a_pod_from_creation_to_report(tmp_path, pod):
  """`run` is of one process here: --distributed has a test of its own."""
  call, told = pod
  call("create", TYPE="v5litepod-8")
  call("setup")
  notes = text(tmp_path / "notes").splitlines()
  assert len(notes) == 2 * 4, "mount, uv, environment and installation, on each host"
  assert sum("--editable=.[experiments,tpu]" in note for note in notes) == 2
  assert (
    sum(note.startswith("gcsfuse") and note.endswith("qnn-results results") for note in notes) == 2
  )
  for i in range(2):
    host = tmp_path / f"host{i}"
    assert (host / "qnn_jax" / "pyproject.toml").is_file()
    recipes.script(host / "qnn_jax/.venv/bin/python", f'exec {recipes.tool("python")} "$@"')
  run = ["-m", "experiments.xor", f"--config={XOR['CONFIG']}", f"--workdir={tmp_path}/results/xor"]
  ran = command_line.run("experiments.xor", *run[2:], "--workers=1")
  assert ran.returncode == 0, ran.stderr
  results = recipes.rows(tmp_path / "results/xor")
  (tmp_path / "results/xor/results.csv").unlink()
  assert "11 of 11 done" in call("list", **XOR)
  assert "written" in call("report", "--verbosity=0", **XOR)
  assert recipes.rows(tmp_path / "results/xor") == results
  call("delete")
  assert [words[:4] for words in told()] == [
    ["compute", "tpus", "tpu-vm", what] for what in ("create", "scp", "ssh", "ssh", "ssh", "delete")
  ]


def test_a_pods_hosts_run_as_one_job(tmp_path, pod):
  recipes.needs_distributed()
  call, told = pod
  for i in range(2):
    host = tmp_path / f"host{i}"
    (host / "results").symlink_to(tmp_path / "results")
    (host / "qnn_jax").mkdir()
    for name in ("configs", "experiments", "qnn_jax", ".venv"):
      (host / "qnn_jax" / name).symlink_to(recipes.ROOT / name)
  call("run", **XOR)
  assert len(recipes.rows(tmp_path / "results/xor")) == 11


def test_what_it_does_is_asked_for():
  done = subprocess.run([TPU_POD, "runn"], check=False, capture_output=True, text=True)
  assert done.returncode == 1
  assert done.stderr.startswith("error: say create, setup, run, list, report or delete")


def test_gcloud_knows_every_flag(tmp_path, pod):
  """By gcloud's own check of a command line, which asks no server."""
  call, told = pod
  gcloud = next(
    (p for p in ("/usr/bin/gcloud", "/snap/bin/gcloud") if pathlib.Path(p).exists()), ""
  )
  if not gcloud:
    pytest.skip("gcloud is not installed")
  call("create")
  recipes.script(
    tmp_path / "bin" / "gcloud", text(tmp_path / "bin" / "gcloud").split("worker=all")[0]
  )
  for action in ("setup", "run", "list", "report", "delete"):
    call(action)
  commands = [shlex.join(["gcloud", *words]) for words in told()]
  listed = [{"command_string": command} for command in [*commands, f"{commands[0]} --spott"]]
  (tmp_path / "commands").write_text(json.dumps(listed))
  checked = subprocess.run(
    [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={tmp_path}/commands"],
    check=False, capture_output=True, text=True,
    env=os.environ | {"CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1"},
  )  # fmt: skip
  assert checked.returncode == 0, checked.stderr
  *good, bad = json.loads(checked.stdout)
  assert [result["error_message"] for result in good] == [None] * 7
  assert "--spott" in bad["error_message"]
