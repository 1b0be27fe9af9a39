#!/usr/bin/env bash
# On your own machine, in the root of a clean checkout: collect in .whl/ what a GPU machine
# without a network lacks. Needs pip and a package index. Takes about half a minute.
#
#   bash tests/native/gpu_session/prepare.sh             # what the suite needs there
#   bash tests/native/gpu_session/prepare.sh --xformers  # and the dense peer of the xformers_* methods
#
# .whl/ then holds wheels for x86-64 Linux and CPython $PYTHON_VERSION (3.12 by default), a copy of
# this commit (history.tar.gz, by which records name it where .git does not travel), and
# cache.tar.gz if an earlier session built the kernels there.
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"

LIMIT_MIB=64             # of what travels: checkout and .whl together
PYTHON_VERSION=${PYTHON_VERSION:-3.12}  # of the GPU machine
PACKAGES=(pydantic pydantic_core annotated-types typing-inspection typing_extensions)
PLATFORMS=(manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64
  manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux1_x86_64)

[[ ${1:-} == --xformers ]] && PACKAGES+=(xformers)
kind=(--no-deps --only-binary=:all: --python-version "$PYTHON_VERSION" --implementation cp)
for platform in "${PLATFORMS[@]}"; do kind+=(--platform "$platform"); done

mkdir -p .whl
rm -f .whl/*.whl .whl/history.tar.gz
git check-ignore -q .whl || echo /.whl/ >>"$(git rev-parse --git-path info/exclude)"

for package in "${PACKAGES[@]}"; do
  pin=$(grep -iE "^${package//[-_]/[-_]}==" constraints.txt || true)
  [[ -n $pin ]] || { echo "constraints.txt has no pin of $package" >&2; exit 1; }
  PIP_CONSTRAINT=/dev/null python3 -m pip download -q "${kind[@]}" -d .whl "$pin" \
    2> >(grep -v WARNING >&2)
done

# The wheels unpack together, and what they require is either among them or expected there.
site=$(mktemp -d); trap 'rm -rf "$site"' EXIT
PIP_CONSTRAINT=/dev/null python3 -m pip install -q --no-index --no-compile "${kind[@]}" \
  --target "$site" .whl/*.whl 2> >(grep -v WARNING >&2)
test -f "$site/pydantic/__init__.py" && ls "$site"/pydantic_core/*cpython-"${PYTHON_VERSION//./}"-x86_64*.so >/dev/null
for wheel in .whl/*.whl; do
  unzip -p "$wheel" '*/METADATA' | sed -n 's/^Requires-Dist: //p' | grep -v extra |
    sed "s|^|$(basename "$wheel" | cut -d- -f1) requires |" || true
done

if ! git diff --quiet HEAD; then
  echo "warning: uncommitted changes; the records will say that the tree was dirty" >&2
fi
# The commit and its trees without file contents: enough for git to name it and to tell changes.
git init -q --bare "$site/history.git"
git rev-list --objects --no-object-names --filter=blob:none --max-count=1 HEAD |
  git pack-objects -q "$site/history.git/objects/pack/pack" >/dev/null
git rev-parse HEAD >"$site/history.git/shallow"
git -C "$site/history.git" update-ref HEAD "$(git rev-parse HEAD)"
tar -czf .whl/history.tar.gz -C "$site" history.git

[[ -f .whl/cache.tar.gz ]] && echo "cache.tar.gz: kernels built earlier travel too"
bytes_of() { xargs -0 -r du -cb --apparent-size | awk '/total$/ {sum += $1} END {print sum + 0}'; }
tree=$(git ls-files -z --cached --others --exclude-standard | bytes_of)
carried=$(find .whl -type f -print0 | bytes_of)
ls -l .whl | awk 'NR > 1 {printf "%10.2f MiB  %s\n", $5 / 1048576, $9}'
awk -v t="$tree" -v c="$carried" -v limit="$LIMIT_MIB" 'BEGIN {
  printf "checkout %.1f MiB + .whl %.1f MiB = %.1f of %d MiB\n",
    t / 1048576, c / 1048576, (t + c) / 1048576, limit
  exit (t + c) / 1048576 > limit }' || { echo "too large to travel" >&2; exit 1; }
echo "ready: commit $(git rev-parse --short HEAD)"
