"""Which GPUs a process of --distributed takes: all of a host where it is the only one there."""

import pytest

from qnn_jax.command.distributed import own_devices

pytestmark = pytest.mark.fast

SLURM = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "2"}
GPUS = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}


@pytest.mark.parametrize(
  ("environment", "devices"),
  [
    ({**SLURM, **GPUS}, [0, 1, 2, 3]),
    ({**SLURM, "SLURM_JOB_GPUS": "4,5"}, [0, 1]),  # numbered anew within the process
    ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1", **GPUS}, [0, 1, 2, 3]),
    ({**SLURM, "SLURM_NTASKS": "8", **GPUS}, None),  # a process a GPU: JAX's own way
    ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4", **GPUS}, None),
    ({**SLURM, **GPUS, "JAX_LOCAL_DEVICE_IDS": "1"}, None),
    (SLURM, None),
    (GPUS, None),
    ({}, None),
  ],
)
def test_the_only_process_of_a_host_takes_all_of_its_gpus(environment, devices):
  assert own_devices(environment) == devices
