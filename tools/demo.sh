#!/usr/bin/env bash
# The main job, called by ./quickstart: tools/demo.sh DATA-OR-EMPTY ROUNDS DOWNLOAD-SECONDS STARTED
# A lab of four peers trains, one is killed and comes back, then the model writes.
set -euo pipefail
. tools/setup.sh
data=$1 rounds=$2 downloads=$3 started=$4
text=(--data "$data")
[ -n "$data" ] || text=(--data .cache/data/plays-train.txt --held-out .cache/data/plays-held-out.txt)

say "A private mesh of four peers on this machine: mycel lab up 4"
mycel lab up 4 -q
on() { # on K VERB...: the verb at peer K
    local peer=$1
    shift
    mycel lab run --peer "$peer" -- mycel "$@"
}

say "Training: mycel train --data FILE --model small --rounds $rounds"
train_started=$SECONDS
run=$(on 1 train "${text[@]}" --model small --rounds "$rounds" --detach --json | sed -n 's/.*"run": *"\([0-9a-f]*\)".*/\1/p')
[ -n "$run" ] || die "the run did not start; see: mycel lab run --peer 1 -- mycel status"
on 1 runs watch "$run" &
watching=$!

field() { on 1 runs show "$run" --json | sed -n "s/.*\"$1\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" | head -1; }
wait_round() { # until the run has closed round $1, or ended
    while :; do
        local state round
        state=$(field state) round=$(field round)
        [ "${round:-0}" -ge "$1" ] && return 0
        case $state in done | failed) return 0 ;; esac
        sleep 1
    done
}
wait_round $((rounds / 4))
pid=$(mycel lab status --json | tr '{' '\n' | sed -n 's/.*"peer": *4,.*"pid": *\([0-9]*\).*/\1/p')
say "Killing peer 4 (kill -9 $pid): the other three go on"
kill -9 "$pid"
wait_round $((rounds / 4 + 4))
say "Peer 4 comes back: mycel up"
on 4 up --detach
wait "$watching" || true
[ "$(field state)" = "done" ] || die "the run ended as '$(field state)'; see: mycel lab run --peer 1 -- mycel status"
say "Trained $rounds rounds in $((SECONDS - train_started)) s"
on 1 runs show "$run"

say "The same bits: peer 2 replays a trainer's part of the last round"
on 2 runs verify "$run" --round "$(field round)" || die "the replay differs"

say "And it writes: mycel generate --run ${run:0:8} --prompt 'KING:'"
on 1 generate --run "$run" --prompt $'KING:\n' --max-tokens 400 --temperature 0.8 --seed 1
echo
cat <<END

Installing took $downloads s, all the rest $(($(date +%s) - started - downloads)) s.
The mesh is still up. What to try next (in this folder):
  export PATH="\$PWD/zig-out/bin:\$PATH" MYCEL_HOME="\$PWD/.cache/quickstart"
  mycel lab status                                   the four peers
  mycel lab run --peer 2 -- mycel peers              who they see, and how far away
  mycel lab run --peer 3 -- mycel runs show ${run:0:8}   the same hash everywhere
  mycel lab run --peer 3 -- mycel generate --run ${run:0:8} --prompt 'JULIET:'
  mycel lab down                                     stop it
  mycel help                                         everything else; docs/tutorial.md does this by hand
END
