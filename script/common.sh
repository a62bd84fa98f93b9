# shellcheck shell=bash
# What every script here shares. Sourced, never run.
# shellcheck disable=SC2034  # the variables are for those who source this

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${CKPTREE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ckptree}
python=$checkout/.venv/bin/python
pure_python=$checkout/.venv-pure/bin/python
zfs_default=2.3
zfs_flavours=(2.3 2.1)

# A caller's own Python or pip settings must not leak into the environments made here.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '%s\n' "$*" >&2; }
fail() { say "${0##*/}: $*"; exit 1; }

# step TITLE LOG COMMAND...: one short line for a person, the whole story in the log, its tail on failure.
# A COMMAND that is a function must chain its commands itself: 'set -e' does not reach into a condition.
step() {
  local title=$1 log=$2 start=$SECONDS
  shift 2
  mkdir -p "$(dirname "$log")"
  printf '  %s ... ' "$title" >&2
  if "$@" >"$log" 2>&1 </dev/null; then
    say "done ($((SECONDS - start)) s)"
  else
    say "FAILED after $((SECONDS - start)) s; the end of $log:"
    tail -n 25 "$log" >&2
    return 1
  fi
}

# The directory of a built ZFS flavour (2.1 or 2.3); it may not exist yet.
flavour_dir() { printf '%s/zfs-%s' "$cache" "$1"; }
