"""Several processes as one job: `--distributed`, for a TPU pod, a GPU job on several hosts, or by hand.

The processes find each other by `jax.distributed`. Each trains its slice of the runs on its own devices,
and process 0 waits for all and writes the report. Training needs no communication: the processes
synchronise only at the beginning and at the end. JAX's coordination service knows where the other
processes are, and which of them are alive.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

import jax
from absl import flags

from qnn_jax.command.job import Job, why_of
from qnn_jax.errors import InputError

FLAGS = ("distributed", "coordinator", "processes", "process")


def define() -> None:
  """Defines the flags."""
  flags.DEFINE_bool(
    "distributed",
    False,
    "Join the other processes of this job with jax.distributed; each trains its slice of the runs.",
  )
  flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if JAX cannot detect it.")
  flags.DEFINE_integer("processes", None, "The number of processes, if JAX cannot detect it.")
  flags.DEFINE_integer(
    "process", None, "The number of this process, from 0, if JAX cannot detect it."
  )


@contextlib.contextmanager
def joined() -> Iterator[Job | None]:
  """Joins the job of --distributed, before anything starts a JAX backend; yields None without the flag.

  Raises:
    InputError: the flags do not go together, or the processes cannot be found.
  """
  values = flags.FLAGS
  given = [name for name in FLAGS[1:] if values[name].value is not None]
  if not values.distributed:
    if given:
      raise InputError(f"--{given[0]} belongs to --distributed; give both, or leave it out")
    yield None
    return
  if values.launch == "slurm":
    raise InputError(
      "--distributed joins the processes of one job, and --launch=slurm makes independent ones; use "
      "scripts/cluster/slurm_distributed.sbatch, or leave out --distributed"
    )
  for other in ("list", "dry_run", "report_only", "cancel", "slice"):
    if values[other].value:
      raise InputError(f"--distributed and --{other} exclude each other; give one of them")
  with join(values.coordinator, values.processes, values.process) as job:
    yield job


@contextlib.contextmanager
def join(coordinator: str | None, processes: int | None, process: int | None) -> Iterator[Job]:
  """Joins this process to its job, before anything starts a JAX backend.

  Args:
    coordinator: HOST:PORT of process 0.
    processes: how many there are.
    process: the number of this process. A value of None is read from the environment. If all three are None,
      JAX detects them on a TPU pod, and under Slurm, Open MPI or Kubernetes.

  Raises:
    InputError: the processes cannot be found.
  """
  coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
  processes = _number("JAX_NUM_PROCESSES") if processes is None else processes
  process = _number("JAX_PROCESS_ID") if process is None else process
  given = [value is not None for value in (coordinator, processes, process)]
  if any(given) and not all(given):
    raise InputError(
      "--coordinator, --processes and --process (or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and "
      "JAX_PROCESS_ID in the environment) go together; give all three or none"
    )
  for name, value in (
    ("jax_enable_recoverability", True),  # if a process dies, the others finish their work
    ("jax_enable_preemption_service", False),  # which would swallow SIGTERM
  ):
    with contextlib.suppress(AttributeError):
      jax.config.update(name, value)
  # With all three given, nothing is detected: Slurm's variables would give a process one device only.
  detect = "deactivate" if all(given) else None
  devices = None if all(given) else own_devices(os.environ)
  try:
    jax.distributed.initialize(
      coordinator, processes, process, devices, cluster_detection_method=detect
    )
  except (ValueError, RuntimeError, TypeError) as error:
    why = " ".join(str(error).split())
    raise InputError(
      f"the processes of --distributed cannot be found ({why}); where nothing detects them, give "
      "--coordinator=HOST:PORT --processes=N --process=I"
    ) from error
  # JAX has no public way to the service's client.
  from jax._src.distributed import global_state

  job = Job(global_state.client, jax.process_index(), jax.process_count())
  try:
    with job.stopped_together():
      yield job
  except BaseException as error:
    with contextlib.suppress(Exception):
      job.say(why_of(error))
    raise
  finally:
    if job.reports:
      with contextlib.suppress(Exception, KeyboardInterrupt):
        job.see_off()
    with contextlib.suppress(Exception):
      jax.distributed.shutdown()


def own_devices(environment: Mapping[str, str]) -> list[int] | None:
  """All visible GPUs, if this is the only process of its host under Slurm or Open MPI; else None: JAX chooses.

  By default JAX expects one process for each GPU, and gives a process only the GPU of its number on the host.
  """
  tasks, nodes = environment.get("SLURM_NTASKS"), environment.get("SLURM_STEP_NUM_NODES")
  alone = tasks is not None and tasks == nodes
  alone = alone or environment.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1"
  visible = environment.get("CUDA_VISIBLE_DEVICES") or environment.get("SLURM_JOB_GPUS")
  if not alone or not visible or "JAX_LOCAL_DEVICE_IDS" in environment:
    return None
  return list(range(len(visible.split(","))))


def _number(name):
  text = os.environ.get(name)
  if text is None:
    return None
  try:
    return int(text)
  except ValueError:
    raise InputError(f"{name} in the environment must be a whole number, got '{text}'") from None
