#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: one_node_slurm.sh start|stop|kill_node|kill_daemon|start_node
#
# Needs root, and Debian's packages slurm-wlm and munge, which `start` installs if they are missing. It writes
# /etc/slurm/slurm.conf, but only if the file does not exist or is its own: a real cluster's file is not changed.
# Timeouts of minutes on a cluster are seconds here: a lost node is noticed after 10 s, and a job that must end has
# 5 s to do so. Jobs of the partition `debug` preempt those of `requeued` (they go back into the queue), of
# `cancelled` (they end), and of `graced` (they end 30 s after the signal).
set -euo pipefail

state=/var/lib/qnn_jax-slurm
config=/etc/slurm/slurm.conf

fail() { echo "error: $*" >&2; exit 1; }

answers() { sinfo -h -o %T 2>/dev/null | grep -qE '^(idle|mixed|allocated|completing)$'; }

ours() { [ -f "$config" ] && grep -q '^ClusterName=qnn-test$' "$config"; }

write_config() {
  local host cores memory
  host=$(hostname -s)
  cores=$(nproc)
  # No more memory than slurmd finds, or Slurm drains the node. Several tasks side by side need two cores.
  memory=$(slurmd -C | sed -n 's/.*RealMemory=\([0-9]*\).*/\1/p')
  mkdir -p /etc/slurm "$state/ctld" "$state/d"
  cat > "$config" <<CONF
ClusterName=qnn-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=300
AccountingStorageType=accounting_storage/none
JobRequeue=1
EnforcePartLimits=ALL
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=10-0 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=requeued Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=cancelled Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL
PartitionName=graced Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=30
CONF
}

wait_for_node() {
  for _ in $(seq 60); do
    if answers; then sinfo; return; fi
    sleep 0.5
  done
  tail -n 20 "$state"/*.log >&2 || true
  fail "no node of this Slurm has come up within 30 s"
}

start() {
  [ "$(id -u)" = 0 ] || fail "a Slurm of one's own needs root; run this as root, or in a container"
  if [ -f "$config" ] && ! ours; then fail "$config is of another Slurm, which stays as it is"; fi
  if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    apt-get update -qq || fail "apt-get update failed, so that slurm-wlm and munge cannot be installed"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge >/dev/null ||
      fail "apt-get could not install slurm-wlm and munge"
  fi
  write_config
  mkdir -p /run/munge /var/log/munge /var/lib/munge /etc/munge
  [ -f /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
  chown -R munge:munge /etc/munge /run/munge /var/log/munge /var/lib/munge
  chmod 400 /etc/munge/munge.key
  pgrep -x munged >/dev/null || su -s /bin/sh munge -c /usr/sbin/munged
  pgrep -x slurmctld >/dev/null || slurmctld
  pgrep -x slurmd >/dev/null || slurmd
  wait_for_node
}

end() {  # end NAME: ends the daemon of this name, if its pid file is ours
  local file="$state/$1.pid" pid
  pid=$(cat "$file" 2>/dev/null) || return 0
  kill "-$2" "$pid" 2>/dev/null || true
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  rm -f "$file"
}

stop() {
  ours || fail "there is no Slurm of this script"
  scancel --user="$(id -un)" 2>/dev/null || true
  for _ in $(seq 20); do [ -n "$(squeue -h 2>/dev/null)" ] || break; sleep 0.5; done
  end slurmd TERM
  end slurmctld TERM
  rm -rf "$state" "$config"
}

# kill_node: like a power failure, kills the daemon and all its jobs at once. kill_daemon: the jobs go on.
kill_node() {
  ours || fail "there is no Slurm of this script"
  end slurmd KILL
  for step in $(pgrep -x slurmstepd || true); do kill_tree "$step"; done
}

kill_tree() {
  local child
  kill -STOP "$1" 2>/dev/null || return 0
  for child in $(pgrep -P "$1" || true); do kill_tree "$child"; done
  kill -KILL "$1" 2>/dev/null || true
}

case "${1:-}" in
  start) start ;;
  stop) stop ;;
  kill_node) kill_node ;;
  kill_daemon) ours && end slurmd KILL ;;
  start_node) pgrep -x slurmd >/dev/null || slurmd; wait_for_node ;;
  *) fail "write $0 start, stop, kill_node, kill_daemon or start_node" ;;
esac
