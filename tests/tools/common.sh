# shellcheck shell=bash
# Functions and settings that several scripts share. Source this file.

# The directory for everything that is built or downloaded once per machine. It is outside the work tree.
# shellcheck disable=SC2034 # not every script uses it
cache=${LMO_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/live-message-operator}

say() { printf '%s\n' "$*" >&2; }

# fail MESSAGE [HINT...]
fail() {
    say "error: $1"
    shift
    local line
    for line in "$@"; do say "       $line"; done
    exit 1
}

# The number of seconds between two progress lines.
progress_every=15

# The process that with_progress waits for. A script that is interrupted stops this process.
running=''

# Runs a command and prints regularly how long it has been running. Prints nothing if the command takes less than two
# seconds. If the command fails, prints the end of its output.
#
#   with_progress WHAT EXPECTED_TIME LOG COMMAND...
with_progress() {
    local what=$1 expected=$2 log=$3 started=$SECONDS shown=-1 elapsed
    shift 3
    # File descriptor 9 is the lock of tests/tools/build. A compiler that outlives a killed run must not hold it.
    "$@" >"$log" 2>&1 9>&- </dev/null &
    running=$!
    while kill -0 "$running" 2>/dev/null; do
        sleep 0.2
        elapsed=$((SECONDS - started))
        if [ "$elapsed" -ge 2 ] && { [ "$shown" -lt 0 ] || [ $((elapsed - shown)) -ge "$progress_every" ]; }; then
            shown=$elapsed
            say "$what: $elapsed s ($expected)"
        fi
    done
    if ! wait "$running"; then
        running=''
        say "$(tail -n 30 "$log")"
        return 1
    fi
    running=''
}
