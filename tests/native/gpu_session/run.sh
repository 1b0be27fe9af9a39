#!/usr/bin/env bash
# On a GPU machine without nox and without a network, in the root of a checkout that prepare.sh has
# prepared; arguments are those of `python -m tests.native.gpu_session`:
#
#   bash tests/native/gpu_session/run.sh --seconds 530
#
# Installs the wheels of .whl/ outside of the checkout, unpacks what travelled with them, and finds
# the CUDA toolkit. SPION_GPU_WORK: scratch folder, default /tmp/spion_gpu; PYTHON: default python3.
set -uo pipefail
shopt -s nullglob
[[ -f spion_bench/__init__.py ]] || { echo "run this in the root of a checkout" >&2; exit 2; }
PYTHON=${PYTHON:-python3}
WORK=${SPION_GPU_WORK:-/tmp/spion_gpu}
mkdir -p "$WORK"
export SPION_BENCH_CACHE=$WORK/cache TORCHINDUCTOR_CACHE_DIR=$WORK/inductor TRITON_CACHE_DIR=$WORK/triton

wheels=(.whl/*.whl)
if ((${#wheels[@]})); then
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
    --target "$WORK/site" "${wheels[@]}" || { echo "the wheels do not install" >&2; exit 3; }
fi
export PYTHONPATH=$WORK/site:$PWD${PYTHONPATH:+:$PYTHONPATH}

# Records name the commit. Where .git did not travel, history.tar.gz brings the commit's trees.
if ! git rev-parse -q --verify HEAD >/dev/null 2>&1 && [[ -f .whl/history.tar.gz ]] &&
  command -v git >/dev/null; then
  tar -xzf .whl/history.tar.gz -C "$WORK"
  export GIT_DIR=$WORK/history.git GIT_WORK_TREE=$PWD
  git config core.bare false && git config core.fileMode false && git reset -q
fi
# Kernels that an earlier session built on a machine of the same image.
[[ ! -d $SPION_BENCH_CACHE && -f .whl/cache.tar.gz ]] && tar -xzf .whl/cache.tar.gz -C "$WORK"

for folder in ${CUDA_HOME:+"$CUDA_HOME"} /usr/local/cuda /usr/local/cuda-* /opt/cuda*; do
  PATH=$PATH:$folder/bin:$folder/compute-sanitizer
done
for folder in /opt/nvidia/nsight-compute/*; do PATH=$PATH:$folder; done
export PATH

"$PYTHON" -m tests.native.gpu_session "$@"
code=$?
[[ -d $SPION_BENCH_CACHE ]] && tar -czf "$WORK/cache.tar.gz" -C "$WORK" --exclude='*.lock' cache &&
  echo "kernels for the next session: $WORK/cache.tar.gz, to be put into .whl/"
exit "$code"
