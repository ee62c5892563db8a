// lab up, down, status, run, restart: a mesh of several peers on this machine, each a process of its own with its own
// home.
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "tools/lab/lab.h"
#include "tools/lab/lab_conf.h"
#include "tools/lab/lab_place.h"
#include "tools/spawn.h"
#include "tools/verbs.h"

enum {
    TOKEN_USES = 16,  // as many peers as one invitation may let in
    LOOK_MS = 2000,
    SEE_ALL_MS = 30000,
    SAY_AFTER_MS = 5000,
    AT_ONCE = 32,  // peers that start or join at the same time
    POLL_MS = 50,
    WORDS_MAX = 24
};

struct lab {
    struct call *call;
    unsigned count;
    char cpus[16];  // a peer's, where mycel.conf says nothing of them, else ""
    struct lab_place place;
    struct lab_peer peers[LAB_PEERS_MAX];
};

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is(const struct lab_peer *peer, const char *state)
{
    return strcmp(peer->state, state) == 0;
}

// The words of "mycel --home H VERB ...", filled from left to right.
struct words {
    char *at[WORDS_MAX];
    size_t count;
};

static void word(struct words *w, const char *text)
{
    check(w->count + 1 < WORDS_MAX);
    w->at[w->count++] = (char *)text;  // exec's signature; nobody writes
    w->at[w->count] = NULL;
}

// Without a limit of their own (tools/lab/lab_conf.h) the peers divide what this process may use.
static void limits_read(struct lab *lab)
{
    cpu_set_t usable;
    unsigned cpus = sched_getaffinity(0, sizeof usable, &usable) ? 1 : (unsigned)CPU_COUNT(&usable);
    if (!lab_conf_has_cpus(lab->call->home))
        snprintf(lab->cpus, sizeof lab->cpus, "%u", cpus > lab->count ? cpus / lab->count : 1);
    lab_conf_enter(lab->call->home);
}

static void limit_words(const struct lab *lab, struct words *w)
{
    if (!lab->cpus[0]) return;
    word(w, "--cpus");
    word(w, lab->cpus);
}

static enum core_err start(struct lab *lab, unsigned number, struct spawn *s, struct words *w, const char *input)
{
    int network = lab_place_network(&lab->place, number);
    if (lab->place.hosts.count && network < 0) return CORE_ERR_NOT_FOUND;
    enum core_err err = spawn_start_in(s, network, lab->call->program, w->at, input);
    if (network >= 0) close(network);
    return err;
}

// `what` a peer was asked to do failed; its own words say why.
static int peer_failed(struct lab *lab, unsigned number, const char *what, int status, const char *said)
{
    const char *reason = strncmp(said, "mycel: ", 7) == 0 ? said + 7 : said;
    output_error(&lab->call->out, "FAILED", "lab peer %u: %s failed: %s; its log is %s/log", number, what,
                 reason[0] ? reason : "it said nothing", lab->peers[number - 1].home);
    return status > 0 && status < 126 ? status : 1;
}

static int run_one(struct lab *lab, unsigned number, struct words *w, const char *input, const char *what)
{
    struct spawn s;
    char said[1024] = "";
    if (start(lab, number, &s, w, input)) return peer_failed(lab, number, what, 1, "cannot start a process");
    int status = spawn_wait(&s, said, sizeof said);
    return status ? peer_failed(lab, number, what, status, said) : 0;
}

static int found(struct lab *lab, struct lab_peer *first)
{
    char address[LAB_ADDRESS_SIZE];
    lab_place_listen(address, &lab->place, 1);
    struct words w = {0};
    const char *const words[] = {"mycel",  "init", "lab",      "--home", first->home,
                                 "--name", "p1",   "--listen", address,  "--quiet"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) word(&w, words[i]);
    return run_one(lab, 1, &w, "", "init");
}

static void up_words(struct lab *lab, struct words *w, const struct lab_peer *peer, const char *listen)
{
    *w = (struct words){0};
    const char *const words[] = {"mycel", "up", "--home", peer->home, "--detach"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) word(w, words[i]);
    limit_words(lab, w);
    if (!listen) return;
    word(w, "--listen");
    word(w, listen);
}

// Starts those that have a home and no process, several at once. On a host each listens where the host's address is
// now; elsewhere one whose port was taken meanwhile gets another.
static int restart(struct lab *lab)
{
    struct spawn spawned[LAB_PEERS_MAX];
    bool started[LAB_PEERS_MAX] = {false};
    bool hosts = lab->place.hosts.count > 0;
    struct words w;
    char said[1024], address[LAB_ADDRESS_SIZE];
    int status = 0;
    for (unsigned i = 0; i < lab->count + AT_ONCE; i++) {
        if (i < lab->count && is(&lab->peers[i], "down")) {
            if (hosts) lab_place_listen(address, &lab->place, i + 1);
            up_words(lab, &w, &lab->peers[i], hosts ? address : NULL);
            started[i] = start(lab, i + 1, &spawned[i], &w, "") == CORE_ERR_OK;
            if (!started[i]) status = peer_failed(lab, i + 1, "up", 1, "cannot start a process");
        }
        unsigned j = i - AT_ONCE;
        if (i < AT_ONCE || !started[j] || spawn_wait(&spawned[j], said, sizeof said) == 0) continue;
        up_words(lab, &w, &lab->peers[j], lab_place_listen(address, &lab->place, j + 1));
        int again = run_one(lab, j + 1, &w, "", "up");
        if (again) status = again;
    }
    return status;
}

static int invitation(struct lab *lab, unsigned uses, char *token, size_t size)
{
    for (unsigned i = 0; i < lab->count; i++) {
        lab_look(&lab->peers[i], lab->call->home, i + 1, LOOK_MS);
        if (!is(&lab->peers[i], "up")) continue;
        json_t *fields = json_pack("{s:s,s:i,s:i}", "action", "create", "ttl_s", 3600, "uses", (int)uses);
        json_t *answer = client_ask_quietly(lab->peers[i].home, "invite", fields, LOOK_MS);
        snprintf(token, size, "%s", field_text(answer, "token", ""));
        json_decref(answer);
        if (token[0]) return 0;
    }
    output_error(&lab->call->out, "NO_DAEMON",
                 "no lab peer answers, so none can invite; %s/lab/1/log says why, "
                 "'mycel lab down' and 'mycel lab up' start again",
                 lab->call->home);
    return core_error_exit(CORE_ERR_NO_DAEMON);
}

static enum core_err start_joiner(struct lab *lab, unsigned i, struct spawn *s, const char *token)
{
    char name[8], address[LAB_ADDRESS_SIZE];
    snprintf(name, sizeof name, "p%u", (i + 1) % 1000);
    lab_place_listen(address, &lab->place, i + 1);
    struct words w = {0};
    const char *const words[] = {"mycel",    "join",   "-",  "--home",   lab->peers[i].home,
                                 "--detach", "--name", name, "--listen", address};
    for (size_t j = 0; j < sizeof words / sizeof words[0]; j++) word(&w, words[j]);
    limit_words(lab, &w);
    return start(lab, i + 1, s, &w, token);
}

// Lets those join that have no home yet, several at once.
static int admit(struct lab *lab)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < lab->count; i++) missing += is(&lab->peers[i], "absent");
    if (missing == 0) return 0;
    char token[4096], said[1024];
    int status = 0;
    unsigned left = 0;  // uses of the token
    struct spawn spawned[LAB_PEERS_MAX];
    bool started[LAB_PEERS_MAX] = {false};
    for (unsigned i = 0; i < lab->count + AT_ONCE; i++) {
        bool joins = status == 0 && i < lab->count && is(&lab->peers[i], "absent");
        if (joins && left == 0) {
            left = missing < TOKEN_USES ? missing : TOKEN_USES;
            missing -= left;
            status = invitation(lab, left, token, sizeof token);
        }
        if (joins && status == 0) {
            left--;
            started[i] = start_joiner(lab, i, &spawned[i], token) == CORE_ERR_OK;
            if (!started[i]) status = peer_failed(lab, i + 1, "join", 1, "cannot start a process");
        }
        if (i < AT_ONCE || !started[i - AT_ONCE]) continue;
        int one = spawn_wait(&spawned[i - AT_ONCE], said, sizeof said);
        if (one) status = peer_failed(lab, i - AT_ONCE + 1, "join", one, said);
    }
    return status;
}

static int wait_until_all_see_all(struct lab *lab)
{
    char why[HOME_PATH_SIZE + 256], told[sizeof why] = "";
    int64_t begin = now_ms();
    for (;;) {
        for (unsigned i = 0; i < lab->count; i++)
            if (!is(&lab->peers[i], "up") || !lab->peers[i].id[0])
                lab_look(&lab->peers[i], lab->call->home, i + 1, LOOK_MS);
        if (lab_all_see_all(lab->peers, lab->count, why, sizeof why)) return 0;
        int64_t waited = now_ms() - begin;
        if (client_interrupted()) return core_error_exit(CORE_ERR_INTERRUPTED);
        if (waited > SEE_ALL_MS) {
            output_error(&lab->call->out, "TIMED_OUT", "the lab's peers don't all see each other after %d s: %s",
                         SEE_ALL_MS / 1000, why);
            return core_error_exit(CORE_ERR_TIMED_OUT);
        }
        if (waited > SAY_AFTER_MS && strcmp(told, why) != 0) {
            output_note(&lab->call->out, "waiting for %s", why);
            memcpy(told, why, sizeof told);
        }
        nap();
    }
}

static struct lab *lab_open(struct call *call)
{
    struct lab *lab = calloc(1, sizeof *lab);
    check(lab);
    lab->call = call;
    lab_place_read(&lab->place, call->home);
    return lab;
}

static int bring_up(struct lab *lab)
{
    const char *home = lab->call->home;
    for (unsigned i = 0; i < lab->count; i++) lab_look(&lab->peers[i], home, i + 1, LOOK_MS);
    for (unsigned i = 0; i < lab->count; i++)
        if (is(&lab->peers[i], "silent")) {
            output_error(&lab->call->out, "IN_USE",
                         "lab peer %u (process %d) doesn't answer; if it is stopped, 'kill -CONT %d' wakes it", i + 1,
                         lab->peers[i].pid, lab->peers[i].pid);
            return core_error_exit(CORE_ERR_IN_USE);
        }
    int status = 0;
    if (is(&lab->peers[0], "absent")) {
        output_note(&lab->call->out, "Starting a private mesh of %u peers in %s/lab", lab->count, home);
        status = found(lab, &lab->peers[0]);
        if (status == 0) lab->peers[0].state = "down";
    }
    if (status == 0) status = restart(lab);
    if (status == 0) status = admit(lab);
    for (unsigned i = 0; status == 0 && i < lab->count; i++) lab_look(&lab->peers[i], home, i + 1, LOOK_MS);
    return status ? status : wait_until_all_see_all(lab);
}

int command_lab_up(struct call *call)
{
    uint64_t wanted;
    if (!args_read_number(call->args.words[0], &wanted) || wanted == 0 || wanted > LAB_PEERS_MAX) {
        output_error(&call->out, "USAGE", "'%s' is no number of peers from 1 to %d", call->args.words[0],
                     LAB_PEERS_MAX);
        return core_error_exit(CORE_ERR_USAGE);
    }
    client_catch_interrupts();
    struct lab *lab = lab_open(call);
    unsigned there = lab_count(call->home);
    lab->count = (unsigned)wanted > there ? (unsigned)wanted : there;
    int status = lab_place_make(&lab->place, call, there);
    if (status == 0) status = lab_conf_keep(call, lab->count);
    limits_read(lab);
    if (status == 0) status = bring_up(lab);
    if (status == 0) {
        lab_print(&call->out, &lab->place, lab->peers, lab->count);
        if (!call->out.json)
            output_note(&call->out, "\nNext:\n  mycel lab run --peer 1 -- mycel peers\n"
                                    "  mycel lab run --peer 1 -- mycel train --data FILE\n  mycel lab down");
    }
    free(lab);
    return status;
}

int command_lab_down(struct call *call)
{
    struct lab *lab = lab_open(call);
    lab->count = lab_count(call->home);
    for (unsigned i = 0; i < lab->count; i++) lab_look(&lab->peers[i], call->home, i + 1, LOOK_MS);
    int status = lab_stop(&call->out, lab->peers, lab->count) ? 0 : core_error_exit(CORE_ERR_PARTLY);
    if (lab->place.hosts.count > 0) {
        char why[HOSTS_WHY_SIZE] = "";
        int hosts = hosts_failed(call, hosts_down(lab->place.tag, why), why);
        if (hosts) status = hosts;
    }
    for (unsigned i = 0; i < lab->count; i++) lab_look(&lab->peers[i], call->home, i + 1, LOOK_MS);
    if (call->out.json)
        lab_print(&call->out, &lab->place, lab->peers, lab->count);
    else if (!status && lab->count == 0)
        output_note(&call->out, "No lab in %s; 'mycel lab up 4' starts one.", call->home);
    else if (status)
        output_error(&call->out, "PARTLY", "some lab peers still run; 'mycel lab status' shows which");
    else
        output_note(&call->out, "Stopped; 'mycel lab up %u' brings the lab back.", lab->count);
    free(lab);
    return status;
}

int command_lab_status(struct call *call)
{
    struct lab *lab = lab_open(call);
    lab->count = lab_count(call->home);
    bool all_up = true;
    for (unsigned i = 0; i < lab->count; i++) {
        lab_look(&lab->peers[i], call->home, i + 1, LOOK_MS);
        all_up = all_up && is(&lab->peers[i], "up");
    }
    lab_print(&call->out, &lab->place, lab->peers, lab->count);
    if (lab->count == 0)
        output_note(&call->out, "No lab in %s; 'mycel lab up 4' starts one.", call->home);
    else if (!all_up)
        output_note(&call->out, "'mycel lab up %u' restarts what is down.", lab->count);
    free(lab);
    return all_up ? 0 : 1;
}

int command_lab_run(struct call *call)
{
    struct lab_peer peer;
    unsigned number = (unsigned)args_number(&call->args, "peer", 1);
    snprintf(peer.home, sizeof peer.home, "%.*s/lab/%u", HOME_PATH_SIZE - 32, call->home, number);
    if (access(peer.home, X_OK) != 0) {
        output_error(&call->out, "NOT_FOUND", "there is no lab peer %u in %s/lab; 'mycel lab up %u' makes it", number,
                     call->home, number);
        return core_error_exit(CORE_ERR_NOT_FOUND);
    }
    char path[HOME_PATH_SIZE + 4096];
    const char *old = getenv("PATH");
    int length = (int)(strrchr(call->program, '/') - call->program);
    snprintf(path, sizeof path, "%.*s:%s", length, call->program, old ? old : "/usr/bin:/bin");
    struct lab_place place;
    lab_place_read(&place, call->home);
    int network = lab_place_network(&place, number);
    if (place.hosts.count > 0 && (network < 0 || setns(network, CLONE_NEWNET) != 0)) {
        output_error(&call->out, "REFUSED",
                     "cannot enter the host of lab peer %u: %s; it needs root, and 'mycel lab up'", number,
                     strerror(errno));
        return core_error_exit(CORE_ERR_REFUSED);
    }
    lab_conf_enter(call->home);
    setenv("MYCEL_HOME", peer.home, 1);
    setenv("PATH", path, 1);
    char **command = call->args.rest;
    fflush(stdout);
    execvp(command[0], command);
    output_error(&call->out, "NOT_FOUND", "cannot run %s: %s", command[0], strerror(errno));
    return core_error_exit(CORE_ERR_NOT_FOUND);
}

// A peer that is down and about to come back gets another address: its host's, or, where others share that, a port.
static int readdress(struct lab *lab, unsigned number, char address[LAB_ADDRESS_SIZE])
{
    char why[HOSTS_WHY_SIZE] = "", ip[HOSTS_ADDRESS_SIZE];
    if (lab->place.hosts.count < lab->count) {
        lab_place_listen(address, &lab->place, number);
        if (lab->place.hosts.count > 0) {
            char *colon = strrchr(address, ':');
            snprintf(colon, LAB_ADDRESS_SIZE - (size_t)(colon - address), ":%u", lab->peers[number - 1].port + 1000);
        }
        return 0;
    }
    enum core_err err = hosts_readdress(lab->place.tag, lab_place_host(&lab->place, number), ip, why);
    if (err) return hosts_failed(lab->call, err, why);
    lab_place_listen(address, &lab->place, number);
    return 0;
}

int command_lab_restart(struct call *call)
{
    struct lab *lab = lab_open(call);
    uint64_t number;
    lab->count = lab_count(call->home);
    if (!args_read_number(call->args.words[0], &number) || number == 0 || number > lab->count) {
        output_error(&call->out, "USAGE", "'%s' is no lab peer; there are %u", call->args.words[0], lab->count);
        free(lab);
        return core_error_exit(CORE_ERR_USAGE);
    }
    struct lab_peer *peer = &lab->peers[number - 1];
    char address[LAB_ADDRESS_SIZE] = "";
    lab_look(peer, call->home, (unsigned)number, LOOK_MS);
    limits_read(lab);
    int status = lab_stop(&call->out, peer, 1) ? 0 : core_error_exit(CORE_ERR_PARTLY);
    if (status)
        output_error(&call->out, "PARTLY", "lab peer %u doesn't end; 'kill -9 %d' ends it", (unsigned)number,
                     peer->pid);
    else if (args_has(&call->args, "new-address"))
        status = readdress(lab, (unsigned)number, address);
    if (status == 0) {
        struct words w;
        up_words(lab, &w, peer, address[0] ? address : NULL);
        status = run_one(lab, (unsigned)number, &w, "", "up");
    }
    if (status == 0) {
        lab_look(peer, call->home, (unsigned)number, LOOK_MS);
        lab_print(&call->out, &lab->place, peer, 1);
    }
    free(lab);
    return status;
}
