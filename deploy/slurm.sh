#!/usr/bin/env bash
# A sweep on Slurm: `sbatch deploy/slurm.sh +grid=large out=/shared/cores`.
# Out of time or killed? Submit the same line again: it continues.
#SBATCH --job-name=sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1       # one Ray node per machine
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120         # SIGTERM 120 s before the limit, to finish a commit
set -euo pipefail

export OMP_NUM_THREADS=1          # a chunk runs on one core
export RAY_AUTH_MODE=token        # only who has ~/.ray/auth_token may use this Ray; all nodes see that file
ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=6379

# Starts Ray on every node, runs the command on the head when all are there, and stops Ray after it.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
  ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" \
  -- python -m sweep "$@" runner=ray
