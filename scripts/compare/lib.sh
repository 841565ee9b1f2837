# Shared by the comparisons; sourced, never run. Bash.
#
#   . "$(dirname "$0")/lib.sh"
#   compare_begin "$@"       reads the options, enters a network namespace, makes $SCRATCH, builds sprat
#   need nginx nginx-light   a program, and the Debian package that has it; prints a reason and fails if
#                            it cannot be installed
#   spawn 1 nginx -c …       starts a program on core 1 in the background: $PID, and its output in $LOG
#   timed 0 aria2c …         runs a program on core 0: $WALL_S, $CPU_S (with its children) and $STATUS
#   note LINE WHO METRIC VALUE   keeps one measurement
#   remark TEXT              a line below the table
#   judge LINE METRIC RIVAL least|most FACTOR   a row of the table: medians, ratio, verdict
#   tell LINE METRIC         a row with sprat's median alone, where there is no rival
#   compare_end              prints the table, ends all processes, removes $SCRATCH
#
# Options of every script: --rounds N, --size BYTES, --cc ALGORITHM (congestion control of both
# sides; reno by default, because some others pace even loopback), --out FILE (append the table to
# it), --keep (keep $SCRATCH), --no-install, --install (install and exit). Rivals from crates.io are
# installed in $SPRAT_RIVALS, by default below ~/.cache. Only processes that a script started are
# ended, by their ids.

set -uo pipefail
export LC_ALL=C

COMPARE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$COMPARE_DIR/../.." && pwd)
RIVALS=${SPRAT_RIVALS:-${XDG_CACHE_HOME:-$HOME/.cache}/sprat-compare}
SPRAT=${SPRAT:-$ROOT/target/release/sprat}
EXAMPLES=${EXAMPLES:-$ROOT/target/release/examples}
TITLE=$(basename "$0")
CORES=$(nproc)
# A server is pinned to one core and its load to the other; a program with several threads gets all.
SERVER_CORE=0
CLIENT_CORE=$((CORES > 1 ? 1 : 0))
ALL_CORES=0-$((CORES - 1))
ROUNDS=${ROUNDS:-5}
SIZE=${SIZE:-$((1 << 30))}
CC=reno
OUT=
KEEP=
INSTALL=1
PIDS=()
SKIPPED=()
REMARKS=()
FOLDERS=()

say() { printf '%s\n' "$*" >&2; }
remark() { REMARKS+=("$*"); say "  $*"; }
skip() { SKIPPED+=("$*"); say "skipped: $*"; }
die() { say "$TITLE: $*"; exit 1; }

# ---- beginning and end ---------------------------------------------------------------------------

compare_begin() {
    COMPARE_ARGS=("$@")
    while [ $# -gt 0 ]; do
        case $1 in
            --rounds) ROUNDS=$2; shift ;;
            --size) SIZE=$2; shift ;;
            --cc) CC=$2; shift ;;
            --out) OUT=$2; shift ;;
            --keep) KEEP=1 ;;
            --no-install) INSTALL= ;;
            --install) INSTALL=only ;;
            *) die "unknown option $1; there are --rounds N, --size BYTES, --cc ALGORITHM, --out FILE, --keep, --no-install, --install" ;;
        esac
        shift
    done
    [ "$ROUNDS" -ge 1 ] && [ "$SIZE" -ge 1 ] || die "--rounds and --size are numbers above 0"
    [ -z "${COMPARE_ISOLATED:-}" ] && install_all
    [ -z "${COMPARE_ISOLATED:-}" ] && build_sprat
    if [ "$INSTALL" = only ]; then exit "${#SKIPPED[@]}"; fi
    isolate
    # A tmpfs, so that no disk is measured; without one, the folder for temporary files.
    local base=/dev/shm
    [ -d $base ] && [ -w $base ] && [ "$(free_bytes $base)" -gt $((6 * SIZE)) ] || base=${TMPDIR:-/tmp}
    SCRATCH=$(mktemp -d "$base/sprat-compare.XXXXXX") || exit 1
    SAMPLES=$SCRATCH/samples.tsv
    ROWS=$SCRATCH/rows.md
    : >"$SAMPLES" >"$ROWS"
    trap compare_clean EXIT
    trap 'exit 130' INT TERM
    # Folders of our own, so that no setting and no cache of the user changes the result.
    export XDG_STATE_HOME=$SCRATCH/state XDG_RUNTIME_DIR=$SCRATCH/run XDG_CACHE_HOME=$SCRATCH/cache
    export XDG_CONFIG_HOME=$SCRATCH/config
    mkdir -m 700 "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR" "$XDG_CACHE_HOME" "$XDG_CONFIG_HOME"
    local name
    for name in $(compgen -e SPRAT_); do [ "$name" = SPRAT_RIVALS ] || unset "$name"; done
}

# Runs the script again in a network namespace with only a loopback, where it may set the congestion
# control.
isolate() {
    [ -n "${COMPARE_ISOLATED:-}" ] && return
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(--map-root-user)
    if unshare --net "${as_root[@]}" true 2>/dev/null; then
        export COMPARE_ISOLATED=1
        exec unshare --net "${as_root[@]}" bash -c '
            ip link set lo up || exit 1
            echo "$1" >/proc/sys/net/ipv4/tcp_congestion_control || echo "congestion control $1 cannot be set" >&2
            shift; exec bash "$@"' compare "$CC" "$0" ${COMPARE_ARGS[@]+"${COMPARE_ARGS[@]}"}
    fi
    say "no network namespace can be made here: the system's congestion control is used"
}

compare_clean() {
    stop_all
    if [ -n "$KEEP" ]; then say "left: $SCRATCH ${FOLDERS[*]-}"; else rm -rf "$SCRATCH" ${FOLDERS[@]+"${FOLDERS[@]}"}; fi
}

compare_end() {
    {
        echo "### $TITLE"
        echo
        environment
        echo
        echo "| work | rival | rival's median | sprat's median | ratio | must be | verdict |"
        echo "| --- | --- | --- | --- | --- | --- | --- |"
        cat "$ROWS"
        local reason remark
        for remark in ${REMARKS[@]+"${REMARKS[@]}"}; do echo; echo "$remark"; done
        for reason in ${SKIPPED[@]+"${SKIPPED[@]}"}; do echo; echo "Left out: $reason"; done
        echo
    } | if [ -n "$OUT" ]; then tee -a "$OUT"; else cat; fi
    ! grep -q '| missed |$' "$ROWS"
}

environment() {
    local model
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
    echo "$(date -u +%Y-%m-%d\ %H:%M) UTC, $(uname -sr), $(nproc) × ${model:-unknown processor}," \
        "load $(cut -d' ' -f1 /proc/loadavg), TCP $(cat /proc/sys/net/ipv4/tcp_congestion_control 2>/dev/null || echo unknown)," \
        "$ROUNDS alternating rounds, $("$SPRAT" --version 2>/dev/null || echo sprat), files on $(findmnt -nro FSTYPE -T "${FOLDER:-$SCRATCH}" | tail -1)"
}

free_bytes() { df -B1 --output=avail "$1" | tail -1; }

# ---- having what is needed -----------------------------------------------------------------------

build_sprat() {
    [ -n "${COMPARE_NO_BUILD:-}" ] && return
    say "building sprat"
    # No development dependency adds features, so that the program is the one that users build.
    (cd "$ROOT" && cargo build --release --locked --quiet --features measure --bins --examples) || die "sprat does not build"
}

# Programs that every script uses and a small system may lack, then the rivals of this script.
install_all() {
    need taskset util-linux
    need ip iproute2
    need pgrep procps
    need openssl openssl
    need python3 python3
    declare -F compare_install >/dev/null && compare_install
    rm -rf "$RIVALS/target"
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# need PROGRAM PACKAGE: from Debian.
need() {
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] && return
    [ -n "$INSTALL" ] && [ -z "${COMPARE_ISOLATED:-}" ] && install_package "$2"
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || { skip "$1 (package $2 cannot be installed)"; return 1; }
}

# need_python MODULE PACKAGE
need_python() {
    /usr/bin/python3 -c "import $1" 2>/dev/null && return
    [ -n "$INSTALL" ] && [ -z "${COMPARE_ISOLATED:-}" ] && install_package "$2"
    /usr/bin/python3 -c "import $1" 2>/dev/null || { skip "$1 (package $2 cannot be installed)"; return 1; }
}

install_package() {
    say "installing $1"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1 && return
    as_root apt-get update -qq >/dev/null 2>&1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1
}

# need_cargo PROGRAM CRATE [OPTION…]: from crates.io, built once.
need_cargo() {
    local program=$1 crate=$2
    shift 2
    [ -x "$RIVALS/bin/$program" ] && return
    if [ -n "$INSTALL" ] && [ -z "${COMPARE_ISOLATED:-}" ]; then
        say "building $crate, once; this takes minutes"
        mkdir -p "$RIVALS"
        # The versions of its lock file may be too old for this compiler.
        local -x CARGO_TARGET_DIR=$RIVALS/target
        timeout 1500 cargo install --locked --quiet --root "$RIVALS" "$crate" "$@" >"$RIVALS/$program.log" 2>&1 ||
            timeout 1500 cargo install --quiet --root "$RIVALS" "$crate" "$@" >>"$RIVALS/$program.log" 2>&1
    fi
    [ -x "$RIVALS/bin/$program" ] || { skip "$program (crate $crate cannot be built; see $RIVALS/$program.log)"; return 1; }
}

# ---- running -------------------------------------------------------------------------------------

# pinned CORES PROGRAM…: where there is more than one core.
pinned() {
    local cores=$1
    shift
    if [ "$CORES" -gt 1 ]; then taskset -c "$cores" "$@"; else "$@"; fi
}

# spawn CORES PROGRAM…
spawn() {
    LOG=$SCRATCH/log.${#PIDS[@]}
    if [ "$CORES" -gt 1 ]; then
        taskset -c "$@" >"$LOG" 2>&1 </dev/null &
    else
        "${@:2}" >"$LOG" 2>&1 </dev/null &
    fi
    PID=$!
    PIDS+=("$PID")
}

# stop PID…: and waits for it.
stop() {
    local pid
    for pid in "$@"; do
        kill "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
}

stop_all() { stop ${PIDS[@]+"${PIDS[@]}"}; PIDS=(); }

# timed CORES PROGRAM…: its output goes to $LOG.
timed() {
    local TIMEFORMAT='%R %U %S' took
    LOG=$SCRATCH/log.timed
    took=$({ time pinned "$@" >"$LOG" 2>&1 </dev/null; echo "$?" >"$SCRATCH/status"; } 2>&1)
    STATUS=$(cat "$SCRATCH/status")
    WALL_S=${took%% *}
    CPU_S=$(awk '{ print $2 + $3 }' <<<"$took")
}

# take_memory FOLDER: writes and removes more bytes than a file has. A virtual machine may return
# memory to its host that was free for a second or two; the next program that uses it pays up to 7
# µs for a page, more than all other work of a download. Memory that is returned during a download
# still counts there.
take_memory() {
    dd if=/dev/zero of="$1/memory" bs=1M count=$((SIZE * 5 / 4 / 1048576 + 1)) status=none
    rm "$1/memory"
}

# cpu_of PID…: CPU seconds so far of these processes, to the microsecond where the kernel says.
cpu_of() {
    local pid
    for pid in "$@"; do
        if [ -r "/proc/$pid/schedstat" ]; then
            awk '{ printf "%.6f\n", $1 / 1e9 }' /proc/"$pid"/task/*/schedstat 2>/dev/null
        else
            sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk -v tick="$(getconf CLK_TCK)" '{ print ($12 + $13) / tick }'
        fi
    done | awk '{ sum += $1 } END { printf "%.6f\n", sum }'
}

# await SECONDS COMMAND…: until it succeeds.
await() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || { say "timed out: $*"; return 1; }
        sleep 0.02
    done
}

port_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# make_noise PATH BYTES SEED: no two of its pieces are alike, and the same seed gives the same file.
make_noise() {
    openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "$3")" -iv 0 </dev/zero 2>/dev/null | head -c "$2" >"$1"
}

# start_super NAME CORES [ARG…]: its address is in $ADDR.
start_super() {
    local name=$1 cores=$2
    shift 2
    rm -f "$SCRATCH/$name.ready"
    spawn "$cores" "$SPRAT" super --listen 127.0.0.1:0 --name "$name" --ready-file "$SCRATCH/$name.ready" "$@"
    ready "$name"
}

# start_peer NAME CORES SUPER SHARE [ARG…]
start_peer() {
    local name=$1 cores=$2 home=$3 share=$4
    shift 4
    rm -f "$SCRATCH/$name.ready"
    spawn "$cores" "$SPRAT" peer --share "$share" --super "$home" --listen 127.0.0.1:0 --name "$name" \
        --ready-file "$SCRATCH/$name.ready" "$@"
    ready "$name"
}

ready() {
    await 60 test -s "$SCRATCH/$1.ready" || die "$1 is not ready: $(tail -3 "$LOG")"
    ADDR=$(sed -n 's/.*"listen" *: *"\([^"]*\)".*/\1/p' "$SCRATCH/$1.ready")
}

# found PATTERN SUPER COUNT: whether a query for it has COUNT hits.
found() { [ "$("$SPRAT" query "$1" --super "$2" --json 2>/dev/null | grep -c '"event": *"hit"')" -ge "$3" ]; }

# ---- figures -------------------------------------------------------------------------------------

# note LINE WHO METRIC VALUE: e.g. note one-source aria2c MB/s 456
note() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$SAMPLES"
    say "  $1: $2 $4 $3"
}

# rate BYTES SECONDS: MB/s.
rate() { awk -v b="$1" -v s="$2" 'BEGIN { printf "%.0f\n", b / 1e6 / (s > 0 ? s : 1e-9) }'; }

median() {
    awk -F'\t' -v l="$1" -v w="$2" -v m="$3" '$1 == l && $2 == w && $3 == m { print $4 }' "$SAMPLES" | sort -g |
        awk '{ v[NR] = $1 } END { if (NR) printf "%.12g\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# judge LINE METRIC RIVAL least|most FACTOR [OURS]: sprat (or OURS) against the rival. "least": our
# figure must be at least FACTOR times that of the rival. A factor of 0 prints the figures only.
judge() {
    local line=$1 metric=$2 rival=$3 sense=$4 factor=$5 ours=${6:-sprat} theirs mine
    theirs=$(median "$line" "$rival" "$metric")
    mine=$(median "$line" "$ours" "$metric")
    if [ -z "$theirs" ] || [ -z "$mine" ]; then
        echo "| $line | $rival | ${theirs:-–} | ${mine:-–} | – | – | not measured |" >>"$ROWS"
        return
    fi
    awk -v line="$line" -v rival="$rival" -v unit="$metric" -v t="$theirs" -v m="$mine" -v sense="$sense" -v f="$factor" 'BEGIN {
        ratio = t > 0 ? m / t : 0
        met = sense == "least" ? ratio >= f : ratio <= f
        if (f == 0) { want = "–"; verdict = "for comparison" }
        else { want = (sense == "least" ? "≥ " : "≤ ") f; verdict = met ? "met" : "missed" }
        printf "| %s | %s | %s %s | %s %s | %.2f | %s | %s |\n", line, rival, t, unit, m, unit, ratio, want, verdict
    }' >>"$ROWS"
}

# tell LINE METRIC
tell() { echo "| $1 | – | – | $(median "$1" sprat "$2") $2 | – | – | – |" >>"$ROWS"; }
