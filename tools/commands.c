#include "tools/commands.h"

#include "tools/verbs.h"

#define FLAGS(array) .flags = array, .flag_count = sizeof array / sizeof array[0]

static const struct flag common[] = {
    {"home", 0, FLAG_TEXT, "DIR", "whose peer (MYCEL_HOME, $XDG_STATE_HOME/mycel)", false},
    {"json", 0, FLAG_SWITCH, NULL, "one JSON object on stdout (docs/json.md)", false},
    {"quiet", 'q', FLAG_SWITCH, NULL, "no progress, no hints", false},
    {"verbose", 'v', FLAG_SWITCH, NULL, "more of what happens, on stderr", false},
    {"color", 0, FLAG_CHOICE, "auto|never", "colours on a terminal (NO_COLOR is honoured)", false},
    {"help", 'h', FLAG_SWITCH, NULL, "this help", false},
    {"version", 'V', FLAG_SWITCH, NULL, "as 'mycel version'", false},
};

// What the machine's owner lets a peer have.
#define LIMITS                                                                                      \
    {"cpus", 0, FLAG_COUNT, "N", "cpus to compute with (all, fairly shared)", false},               \
        {"memory", 0, FLAG_SIZE, "SIZE", "memory to use: 4GB (half of all, fairly shared)", false}, \
        {"gpus", 0, FLAG_TEXT, "WHICH", "GPUs: all, none, how many, or nvidia:0,amd:1", false},     \
    {                                                                                               \
        "share", 0, FLAG_SHARE, "PERCENT", "of cpus, memory and the GPUs' time (100)", false        \
    }

static const struct flag init_flags[] = {
    {"listen", 0, FLAG_ADDRESS, "HOST:PORT", "where this peer will listen (0.0.0.0:6173)", false},
    {"fault-model", 0, FLAG_CHOICE, "trusted", "trusted: peers may crash, but don't lie", false},
    {"name", 0, FLAG_TEXT, "NAME", "this peer's name (the host's)", false},
};

static const struct flag up_flags[] = {
    {"detach", 0, FLAG_SWITCH, NULL, "run in the background; prints its process id", false},
    {"listen", 0, FLAG_ADDRESS, "HOST:PORT", "listen here from now on", false},
    {"advertise", 0, FLAG_ADDRESS, "HOST:PORT", "tell others this address (again for more)", true},
    {"no-lan", 0, FLAG_SWITCH, NULL, "don't look for the mesh's peers on the LAN", false},
    {"map-port", 0, FLAG_SWITCH, NULL, "ask the gateway for a port of its own", false},
    {"site", 0, FLAG_TEXT, "NAME", "where it stands; kept in the home's settings", false},
    {"http", 0, FLAG_NUMBER, "PORT", "a live page on 127.0.0.1, read-only (0: any port)", false},
    LIMITS,
    {"log-format", 0, FLAG_CHOICE, "text|json", "form of the log's lines", false},
};

static const struct flag join_flags[] = {
    {"name", 0, FLAG_TEXT, "NAME", "this peer's name (the host's)", false},
    {"detach", 0, FLAG_SWITCH, NULL, "run in the background; prints its process id", false},
    {"listen", 0, FLAG_ADDRESS, "HOST:PORT", "where this peer will listen (0.0.0.0:6173)", false},
    {"advertise", 0, FLAG_ADDRESS, "HOST:PORT", "tell others this address (again for more)", true},
    {"no-lan", 0, FLAG_SWITCH, NULL, "don't look for the mesh's peers on the LAN", false},
    {"map-port", 0, FLAG_SWITCH, NULL, "ask the gateway for a port of its own", false},
    {"sponsor", 0, FLAG_ADDRESS, "HOST:PORT", "also look for the sponsor here (again for more)", true},
    {"site", 0, FLAG_TEXT, "NAME", "where it stands; kept in the home's settings", false},
    {"http", 0, FLAG_NUMBER, "PORT", "a live page on 127.0.0.1, read-only (0: any port)", false},
    LIMITS,
    {"log-format", 0, FLAG_CHOICE, "text|json", "form of the log's lines", false},
};

static const struct flag invite_flags[] = {
    {"ttl", 0, FLAG_DURATION, "TIME", "how long it can be used (24h)", false},
    {"uses", 0, FLAG_COUNT, "N", "how many peers it admits (1)", false},
    {"role", 0, FLAG_CHOICE, "member|sponsor", "sponsors may invite, too (member)", false},
};

static const struct flag hw_flags[] = {
    {"measure", 0, FLAG_SWITCH, NULL, "time the devices now, and try lost ones again", false},
    {"topology", 0, FLAG_TEXT, "FILE", "a machine that `lstopo --of xml` described", false},
    {"peers", 0, FLAG_COUNT, "N", "with --topology: what each of N peers would use (1)", false},
};

static const struct flag ping_flags[] = {
    {"count", 'c', FLAG_COUNT, "N", "how many (4)", false},
};

static const struct flag top_flags[] = {
    {"once", 0, FLAG_SWITCH, NULL, "print plain text, once", false},
};

static const struct flag map_flags[] = {
    {"as", 0, FLAG_CHOICE, "ascii|svg|png|dot|json", "what it becomes (as FILE's name ends, else ascii)", false},
    {"output", 'o', FLAG_TEXT, "FILE", "write it there", false},
    {"hw", 0, FLAG_SWITCH, NULL, "with each peer's devices", false},
    {"run", 0, FLAG_TEXT, "RUN", "with who sends sums to whom in that run, now", false},
    {"all", 0, FLAG_SWITCH, NULL, "every peer, also where a site of many is one box", false},
    {"from", 0, FLAG_TEXT, "FILE", "draw a snapshot that was kept (--as json), - is stdin", false},
};

static const struct flag trace_flags[] = {
    {"run", 0, FLAG_TEXT, "ID", "of this run (the newest, those that run first)", false},
    {"round", 0, FLAG_COUNT, "R", "this round (the last, or a slower one going on)", false},
    {"as", 0, FLAG_CHOICE, "text|ascii|svg|perfetto|json", "its form (as FILE's name ends, else text)", false},
    {"output", 'o', FLAG_TEXT, "FILE", "write it there", false},
    {"from", 0, FLAG_TEXT, "FILE", "draw a trace that was kept (--as json), - is stdin", false},
};

static const struct flag train_flags[] = {
    {"data", 0, FLAG_TEXT, "FILE|HASH", "the text, or a data set the mesh holds", false},
    {"held-out", 0, FLAG_TEXT, "FILE", "text to measure on (the last tenth of --data)", false},
    {"model", 0, FLAG_TEXT, "PRESET|FILE", "small, baby, or a model file (small)", false},
    {"rounds", 0, FLAG_COUNT, "N", "rounds to train (150)", false},
    {"inner-steps", 0, FLAG_COUNT, "N", "steps a peer takes in a round (10)", false},
    {"seed", 0, FLAG_NUMBER, "N", "first weights and order of the data (1)", false},
    {"deadline", 0, FLAG_DURATION, "TIME", "a first round waits so long for a trainer (60s)", false},
    {"profile", 0, FLAG_CHOICE, "repro-fp32|fast-bf16", "the same bits everywhere, or fast on GPUs", false},
    {"detach", 0, FLAG_SWITCH, NULL, "start it, print its id, and return", false},
};

static const struct flag round_flags[] = {
    {"round", 0, FLAG_NUMBER, "R", "this round (the last one)", false},
};

static const struct flag verify_flags[] = {
    {"round", 0, FLAG_NUMBER, "R", "this round (the last closed one)", false},
    {"slot", 0, FLAG_NUMBER, "S", "this trainer's part (one that isn't ours)", false},
};

static const struct flag generate_flags[] = {
    {"run", 0, FLAG_TEXT, "ID", "from this run's newest parameters (the last run)", false},
    {"prompt", 0, FLAG_TEXT, "TEXT", "go on from this text", false},
    {"max-tokens", 0, FLAG_COUNT, "N", "length in bytes of text (256)", false},
    {"seed", 0, FLAG_NUMBER, "N", "the same seed writes the same text (1)", false},
    {"temperature", 0, FLAG_REAL, "T", "0: always the likeliest byte (0.8)", false},
};

#define LIMIT_FLAGS                                                                             \
    {"rate", 0, FLAG_RATE, "RATE", "each way of every host's link: 100mbit (no limit)", false}, \
        {"delay", 0, FLAG_DELAY, "TIME", "one way between two hosts: 20ms (none)", false},      \
    {                                                                                           \
        "loss", 0, FLAG_PERCENT, "P", "of the packets that arrive at a host: 1% (none)", false  \
    }
#define TAG_FLAG                                                                               \
    {                                                                                          \
        "tag", 0, FLAG_TEXT, "TAG", "which set of hosts (one that belongs to the home)", false \
    }

static const struct flag hosts_up_flags[] = {LIMIT_FLAGS, TAG_FLAG};
static const struct flag hosts_flags[] = {TAG_FLAG};
static const struct flag hosts_list_flags[] = {
    TAG_FLAG,
    {"all", 0, FLAG_SWITCH, NULL, "the tags there are", false},
};

static const struct flag lab_up_flags[] = {
    LIMITS,
    {"http", 0, FLAG_NUMBER, "PORT", "a live page for each: peer K's at PORT + K - 1", false},
    {"hosts", 0, FLAG_COUNT, "H", "spread them over H network namespaces (none)", false},
    LIMIT_FLAGS,
    TAG_FLAG,
};

static const struct flag lab_restart_flags[] = {
    {"new-address", 0, FLAG_SWITCH, NULL, "where it listens, nobody has known it", false},
};

static const struct flag lab_run_flags[] = {
    {"peer", 0, FLAG_COUNT, "K", "as this peer (1)", false},
};

static const struct flag sim_flags[] = {
    {"nodes", 0, FLAG_COUNT, "N", "peers (7)", false},
    {"hosts", 0, FLAG_COUNT, "N", "they lie on so many machines (each on its own)", false},
    {"seed", 0, FLAG_NUMBER, "N", "replays exactly this history (1)", false},
    {"seeds", 0, FLAG_COUNT, "N", "this many histories, from --seed on (1)", false},
    {"jobs", 0, FLAG_COUNT, "N", "so many processes side by side (1)", false},
    {"vary", 0, FLAG_SWITCH, NULL, "the seed draws everything else too", false},
    {"faults", 0, FLAG_TEXT, "LIST", "all, none, or names (all, but hostile)", false},
    {"rounds", 0, FLAG_COUNT, "N", "rounds to reach (20)", false},
    {"stranger", 0, FLAG_SWITCH, NULL, "a hostile stranger takes part", false},
    {"byzantine", 0, FLAG_SWITCH, NULL, "the run's fault model (trusted)", false},
};

static const struct flag sim_mesh_flags[] = {
    {"nodes", 0, FLAG_COUNT, "N", "peers (32)", false},
    {"sites", 0, FLAG_COUNT, "N", "they lie at so many places", false},
    {"seed", 0, FLAG_NUMBER, "N", "replays exactly this history (1)", false},
    {"seeds", 0, FLAG_COUNT, "N", "this many histories, from --seed on (1)", false},
    {"jobs", 0, FLAG_COUNT, "N", "so many processes side by side (1)", false},
    {"vary", 0, FLAG_SWITCH, NULL, "the seed draws everything else too", false},
    {"scenario", 0, FLAG_TEXT, "NAME", "what happens to the mesh (random)", false},
    {"seconds", 0, FLAG_COUNT, "N", "virtual time after the mesh stands", false},
    {"faults", 0, FLAG_TEXT, "LIST", "all, none, or names with commas", false},
    {"hostile", 0, FLAG_COUNT, "N", "so many members gone bad", false},
    {"attacks", 0, FLAG_TEXT, "LIST", "what they do: all, or names with commas", false},
    {"storm", 0, FLAG_SWITCH, NULL, "all join at once, instead of a formed mesh", false},
    {"safety", 0, FLAG_SWITCH, NULL, "faults never stop: only safety is judged", false},
    {"members-max", 0, FLAG_COUNT, "N", "entries of a peer's table", false},
    {"casts", 0, FLAG_COUNT, "N", "broadcasts of each kind", false},
    {"cast-bytes", 0, FLAG_COUNT, "N", "their size (1024)", false},
    {"bandwidth", 0, FLAG_COUNT, "BYTES", "a second, of each peer", false},
};

static const struct flag bench_flags[] = {
    {"threads", 0, FLAG_COUNT, "N", "measure with N threads only", false},
    {"seconds", 0, FLAG_REAL, "S", "time for one measurement", false},
    {"full", 0, FLAG_SWITCH, NULL, "learn: every seed and round", false},
    {"seed", 0, FLAG_COUNT, "N", "learn: this seed alone", false},
    {"data", 0, FLAG_TEXT, "FILE", "learn: this text", false},
    {"nodes", 0, FLAG_COUNT, "N", "mesh, aggregate: so many peers", false},
    {"runs", 0, FLAG_COUNT, "R", "mesh, aggregate: so many runs of each", false},
    {"with-peers", 0, FLAG_SWITCH, NULL, "other people's programs beside ours", false},
    {"table", 0, FLAG_SWITCH, NULL, "rows of Markdown", false},
};

static const struct flag conf_flags[] = {
    {"example", 0, FLAG_SWITCH, NULL, "a mycel.conf to begin with: every key, as a comment", false},
};

static const struct flag doctor_flags[] = {
    {"bundle", 0, FLAG_SWITCH, NULL, "all of it into FILE (mycel-bundle-TIME.tar)", false},
    {"markdown", 0, FLAG_SWITCH, NULL, "every trouble it knows, as docs/troubles.md", false},
};

static const struct flag help_flags[] = {
    {"markdown", 0, FLAG_SWITCH, NULL, "the whole reference, as docs/commands.md", false},
    {"man", 0, FLAG_SWITCH, NULL, "mycel(1), a verb's manual page, or mycel.conf's", false},
};

static const struct command commands[] = {
    {"init", NULL, "NAME", 1, 1, false, FLAGS(init_flags), "start a private mesh of your own",
     "Makes the mesh's charter, this peer's key and its certificate in the home. Nothing runs "
     "yet: 'mycel up' starts the peer, 'mycel invite' lets others in.",
     command_init},
    {"up", NULL, "", 0, 0, false, FLAGS(up_flags), "run this peer",
     "Also after a crash: the peer comes back into its mesh and its runs from what lies in "
     "its home. Ctrl-C says goodbye and stops it.",
     command_up},
    {"invite", NULL, "", 0, 0, false, FLAGS(invite_flags), "make a token that lets a peer join",
     "Prints the token and the line to type on the other machine. Whoever has the token can "
     "join: send it over a channel you trust.",
     command_invite},
    {"invite", "ls", "", 0, 0, false, NULL, 0, "open invitations", NULL, command_invite_ls},
    {"invite", "revoke", "ID", 1, 1, false, NULL, 0, "close an invitation", NULL, command_invite_revoke},
    {"join", NULL, "TOKEN|-", 1, 1, false, FLAGS(join_flags), "join a mesh and run this peer",
     "Tries every address in the token and says what each answered. With - the token is read "
     "from standard input and stays out of the shell's history. Once in, 'mycel up' suffices.",
     command_join},
    {"leave", NULL, "", 0, 0, false, NULL, 0, "leave the mesh for good and stop",
     "Hands over at the end of the round, tells the others, and stops the peer. The home "
     "remains; to come back, join with a new token in a new home.",
     command_leave},
    {"down", NULL, "", 0, 0, false, NULL, 0, "stop the local peer", "It leaves its runs; 'mycel up' brings it back.",
     command_down},
    {"status", NULL, "", 0, 0, false, NULL, 0, "is this peer healthy, and what does it do",
     "Health first: each problem names its cause and what to do. Exit 0 when healthy, else 1.", command_status},
    {"doctor", NULL, "FILE", 0, 1, false, FLAGS(doctor_flags), "what is wrong here, and what to do about it",
     "Looks at the home, the daemon, its port, who reaches it, clocks, the mesh, runs, disk, limits and GPU drivers, "
     "with or without a running peer; asks nobody for longer than a second or two. Exit 0 when nothing fails, 1 when "
     "something does, 3 when nothing fails and no daemon runs.\n"
     "--bundle writes what it finds, status, peers, runs, hw, settings, versions and the log's end to a file to attach "
     "to a bug report: without keys or tokens, and with stand-ins such as peer-1 for names, ids and addresses.",
     command_doctor},
    {"hw", NULL, "", 0, 0, false, FLAGS(hw_flags), "this machine: cpus, memory, GPUs, and who uses what",
     "Devices that cannot be used are listed with the reason. While the peer runs it also says what lies where. "
     "Rates are of matrix products in repro-fp32 and of memory; they are kept in the home.",
     command_hw},
    {"peers", NULL, "", 0, 0, false, NULL, 0, "the peers this one knows", NULL, command_peers},
    {"ping", NULL, "PEER", 1, 1, false, FLAGS(ping_flags), "round-trip time to a peer, by name or id",
     "Exit 0 when every one is answered, 7 when some are, 5 when none is.", command_ping},
    {"top", NULL, "", 0, 0, false, FLAGS(top_flags), "peers, links, devices, runs and events, live",
     "Keys: 1 to 5 and Tab change the view, arrows scroll, ? helps, q ends. Where stdout is no terminal it prints "
     "once.",
     command_top},
    {"map", NULL, "", 0, 0, false, FLAGS(map_flags), "the mesh as a picture",
     "Members are asked for their links; who does not answer within a second is drawn paler. Peers stand in "
     "their hosts and sites, and these at distances that tell round trips. The same snapshot gives the same picture.",
     command_map},
    {"train", NULL, "", 0, 0, false, FLAGS(train_flags), "train a language model with the whole mesh",
     "Prints the plan, then a line a round. Ctrl-C leaves the run going (exit 130). "
     "With the same --seed and the same number of peers the parameters come out the same, "
     "bit for bit, in the profile repro-fp32 (the usual one); fast-bf16 lets GPUs use bfloat16 and cannot be verified.",
     command_train},
    {"runs", NULL, "", 0, 0, false, NULL, 0, "runs of this mesh, the newest last", NULL, command_runs},
    {"runs", "list", "", 0, 0, false, NULL, 0, "the same", NULL, command_runs},
    {"runs", "show", "ID", 1, 1, false, FLAGS(round_flags), "one run, or one round of it", NULL, command_runs_show},
    {"runs", "watch", "ID", 1, 1, false, NULL, 0, "follow a run, a line a round", NULL, command_runs_watch},
    {"runs", "verify", "ID", 1, 1, false, FLAGS(verify_flags), "replay a trainer's part of a round here",
     "Takes the same steps from the same parameters on the same data and compares the bits: "
     "equal, or the first tensor that differs (exit 6).",
     command_runs_verify},
    {"runs", "pause", "ID", 1, 1, false, NULL, 0, "stop after the current round", NULL, command_runs_pause},
    {"runs", "resume", "ID", 1, 1, false, NULL, 0, "go on", NULL, command_runs_resume},
    {"runs", "cancel", "ID", 1, 1, false, NULL, 0, "end it for good; its rounds stay readable", NULL,
     command_runs_cancel},
    {"trace", NULL, "RUN", 0, 1, false, FLAGS(trace_flags), "one round of a run on a time line: who slows it down?",
     "The first line names the slowest peer, what it was slow at, and by how much. Members are asked what they did; "
     "who does not answer within a second is named. Peers keep the last 8 rounds. The file of --as perfetto opens in "
     "ui.perfetto.dev.",
     command_trace},
    {"generate", NULL, "", 0, 0, false, FLAGS(generate_flags), "write text with a trained model", NULL,
     command_generate},
    {"lab", NULL, "", 0, 0, false, NULL, 0, "a mesh of several peers on this machine, to try things",
     "Peer K lives in HOME/lab/K. 'lab up' again restarts the ones that died.", NULL},
    {"lab", "up", "N", 1, 1, false, FLAGS(lab_up_flags), "start N peers and wait until all see all",
     "The limits and --http are kept, in HOME/lab/mycel.conf and HOME/lab/K/mycel.conf, for every later start.",
     command_lab_up},
    {"lab", "down", "", 0, 0, false, NULL, 0, "stop them", NULL, command_lab_down},
    {"lab", "status", "", 0, 0, false, NULL, 0, "which run, and where", NULL, command_lab_status},
    {"lab", "run", "", 0, 0, true, FLAGS(lab_run_flags), "run a command as one of the peers",
     "Everything after -- runs with MYCEL_HOME set to that peer's home and mycel on the PATH:\n"
     "mycel lab run --peer 2 -- mycel peers",
     command_lab_run},
    {"lab", "restart", "K", 1, 1, false, FLAGS(lab_restart_flags), "stop peer K and start it again", NULL,
     command_lab_restart},
    {"lab", "kill", "K", 1, 8, false, NULL, 0, "kill -9 peers: K or A..B, as many as you like", NULL, command_lab_kill},
    {"lab", "stop", "K", 1, 8, false, NULL, 0, "hold them: alive, and silent", NULL, command_lab_stop},
    {"lab", "cont", "K", 1, 8, false, NULL, 0, "let them go on", NULL, command_lab_cont},
    {"lab", "split", "WHICH", 0, 1, false, NULL, 0, "cut hosts off from the others (the first half)",
     "Of a lab with --hosts; WHICH as for 'lab hosts cut'.", command_lab_split},
    {"lab", "heal", "WHICH", 0, 1, false, NULL, 0, "let everything through again", NULL, command_lab_heal},
    {"lab", "hosts", "", 0, 0, false, NULL, 0, "machines made of network namespaces",
     "Host K is the network namespace mycel-TAG-K with the address 10.77.0.K on its device eth0: 'ip netns exec "
     "mycel-TAG-K CMD' runs a program there. Needs root. WHICH is K or A..B: those hosts and everything else; A-B: "
     "between the two, both ways; 'A->B': what the first sends to the second, where each may be a range like 1..4.",
     NULL},
    {"lab", "hosts up", "H", 1, 1, false, FLAGS(hosts_up_flags), "make H hosts on a network of their own",
     "Those that are there stay, get these limits, and what was cut is whole.", command_hosts_up},
    {"lab", "hosts down", "", 0, 0, false, FLAGS(hosts_flags), "remove them and end what runs in them",
     "Also what a killed command left behind.", command_hosts_down},
    {"lab", "hosts list", "", 0, 0, false, FLAGS(hosts_list_flags), "which there are, and their limits", NULL,
     command_hosts_list},
    {"lab", "hosts cut", "WHICH", 1, 1, false, FLAGS(hosts_flags), "let nothing through, silently",
     "mycel lab hosts cut 1..16       a split: these from all others\n"
     "mycel lab hosts cut 3           a black hole\n"
     "mycel lab hosts cut '3->1..2'   one way only",
     command_hosts_cut},
    {"lab", "hosts heal", "WHICH", 0, 1, false, FLAGS(hosts_flags), "let it through again (everything)", NULL,
     command_hosts_heal},
    {"lab", "hosts delay", "TIME|none [WHICH]", 1, 2, false, FLAGS(hosts_flags), "hold packets so long, each way", NULL,
     command_hosts_delay},
    {"lab", "hosts rate", "RATE|none [WHICH]", 1, 2, false, FLAGS(hosts_flags), "limit hosts' links, each way", NULL,
     command_hosts_rate},
    {"lab", "hosts loss", "P|none [WHICH]", 1, 2, false, FLAGS(hosts_flags), "lose this part of what arrives at hosts",
     NULL, command_hosts_loss},
    {"lab", "hosts exec", "K", 1, 1, true, FLAGS(hosts_flags), "run a command on host K", NULL, command_hosts_exec},
    {"sim", NULL, "", 0, 0, false, FLAGS(sim_flags), "simulate meshes with faults and check what must hold",
     "The same protocol code in virtual time. A failing seed prints the line that replays it.", command_sim},
    {"sim", "mesh", "", 0, 0, false, FLAGS(sim_mesh_flags), "simulate gossip alone, at any size",
     "Peers without runs over a network with distances: what a broadcast costs, how failures are found, how a split "
     "heals, "
     "what hostile members achieve. Scenarios: random, broadcast, kill, black-hole, stop, split, site, mass.",
     command_sim},
    {"bench", NULL, "WHAT", 0, 8, false, FLAGS(bench_flags), "measure this machine: gemm, step, learn, mesh or all",
     NULL, command_bench},
    {"conf", NULL, "", 0, 0, false, FLAGS(conf_flags), "what mycel.conf and the environment say, and where",
     "A key is a flag of 'mycel up', 'mycel join' or 'mycel init'. The first who names it wins: the command line, "
     "MYCEL_KEY in the environment, HOME/mycel.conf, /etc/mycel/mycel.conf (MYCEL_CONF names another file), and last "
     "what the home's settings kept.",
     command_conf},
    {"version", NULL, "", 0, 0, false, NULL, 0, "version, libraries and kernels", NULL, command_version},
    {"completion", NULL, "bash|zsh|fish", 1, 1, false, NULL, 0, "what a shell needs to complete command lines",
     "For bash: eval \"$(mycel completion bash)\". The Debian package brings all three.", command_completion},
    {"help", NULL, "[VERB]", 0, 3, false, FLAGS(help_flags), "this list, or a command's flags", NULL, command_help},
};

const struct command_table command_table = {
    .commands = commands,
    .count = sizeof commands / sizeof commands[0],
    .common = common,
    .common_count = sizeof common / sizeof common[0],
};
