// Brings a peer up and down: opens everything in its order, tells systemd and whoever detached it, runs the loop,
// closes.
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/identity.h"
#include "node/control/verbs.h"
#include "node/loop.h"
#include "node/members_file.h"

enum { OUTBOX_EFFECTS = 8192, OUTBOX_BYTES = 32 << 20, BLOBS_MAX = 8192, DESCRIPTORS = 4096, JOIN_MS = 10000 };
enum { BRIEF_S = 5 };  // a certificate's life under MYCEL_FAULT=brief

static enum core_err fail(struct node_failure *why, enum core_err err, const char *what, const char *remedy)
{
    node_failure_set(why, remedy, "%s: %s", what, core_error_text(err));
    return err;
}

// ---- who it is ----

static enum core_err open_home(struct node *n, struct node_failure *why)
{
    enum core_err err = home_open(&n->home, n->options->home);
    if (err == CORE_ERR_NOT_FOUND) {
        node_failure_set(why, "make one: `mycel init NAME`, or `mycel join TOKEN`", "no peer lives in %s",
                         n->options->home);
        return err;
    }
    if (err == CORE_ERR_IN_USE) {
        node_failure_set(why, "stop it with `mycel down`, or give another --home",
                         "the home %s is in use by another process (pid %d)", n->options->home,
                         home_holder(n->options->home));
        return err;
    }
    if (err) {
        node_failure_set(why, "check its owner and permissions", "cannot open the home %s: %s", n->options->home,
                         err == CORE_ERR_IO ? strerror(errno) : core_error_text(err));
        return err;
    }
    char path[HOME_PATH_SIZE + 256];
    home_file(&n->home, "key", path);
    err = identity_load(path, &n->key);
    if (err == CORE_ERR_REFUSED) {
        node_failure_set(why, "chmod 600 it, if nobody else can have read it; otherwise join anew",
                         "the key file %s can be read by others, or is not yours", path);
        return err;
    }
    if (err) return fail(why, err, "cannot read the key", "restore it from a copy, or join anew in another home");
    uint8_t *bytes;
    size_t size;
    err = home_read(&n->home, "charter", CHARTER_MAX, &bytes, &size);
    if (!err) err = charter_decode((struct slice){bytes, size}, &n->charter);
    free(bytes);
    if (err) return fail(why, err, "cannot read the charter", "restore it from a copy, or join anew in another home");
    err = home_read(&n->home, "certificate", CERTIFICATE_MAX, &n->certificate, &n->certificate_size);
    if (!err)
        err = certificate_verify((struct slice){n->certificate, n->certificate_size}, &n->charter, NULL, node_wall_s(),
                                 &n->own);
    if (!err && !id_equal(&n->own.key, &n->key.id)) err = CORE_ERR_VERIFY_FAILED;
    if (err)
        return fail(why, err, "this peer's certificate is no good", "ask a member for a new invitation and join anew");
    err = settings_read(&n->home, &n->settings);
    return err ? fail(why, err, "cannot read the settings", "restore HOME/settings") : CORE_ERR_OK;
}

// `up --site` is kept: a peer stays where it stands over a restart that doesn't say.
static enum core_err set_site(struct node *n, struct node_failure *why)
{
    const char *site = n->options->site;
    if (!site || !strcmp(site, n->settings.site)) return CORE_ERR_OK;
    if (*site && !settings_site_valid(site)) {
        node_failure_set(why, "use letters, digits and . _ -, at most 32, starting with a letter or digit",
                         "'%s' is no valid name for a site", site);
        return CORE_ERR_USAGE;
    }
    snprintf(n->settings.site, sizeof n->settings.site, "%s", site);
    enum core_err err = settings_write(&n->home, &n->settings);
    return err ? fail(why, err, "cannot write to the home", "free some space, or check its permissions") : CORE_ERR_OK;
}

static void read_u64_file(struct node *n, const char *name, uint64_t *out)
{
    uint8_t *bytes;
    size_t size;
    *out = 0;
    if (home_read(&n->home, name, 8, &bytes, &size)) return;
    struct reader r = reader_over(bytes, size);
    *out = read_u64(&r);
    free(bytes);
}

// What may be missing: counts from before, open invitations, revocations, the sponsor.
static enum core_err read_rest(struct node *n, struct node_failure *why)
{
    uint8_t *bytes, raw[8];
    size_t size;
    read_u64_file(n, "incarnation", &n->incarnation);
    n->incarnation++;
    struct writer w = writer_over(raw, sizeof raw);
    write_u64(&w, n->incarnation);
    enum core_err err = home_write(&n->home, "incarnation", (struct slice){raw, sizeof raw});
    if (err) return fail(why, err, "cannot write to the home", "free some space, or check its permissions");
    n->saved_incarnation = n->incarnation;
    if (home_read(&n->home, "invitations", INVITATIONS_BYTES, &bytes, &size) == CORE_ERR_OK) {
        if (invitations_decode((struct slice){bytes, size}, &n->invitations)) n->invitations = (struct invitations){0};
        free(bytes);
    }
    if (home_read(&n->home, "revocations", sizeof n->revoked.keys, &bytes, &size) == CORE_ERR_OK) {
        n->revoked.count = (uint32_t)(size / sizeof *n->revoked.keys);
        memcpy(n->revoked.keys, bytes, n->revoked.count * sizeof *n->revoked.keys);
        free(bytes);
    }
    if (home_read(&n->home, "sponsor", sizeof n->sponsor + ADDRESS_LIST_BYTES, &bytes, &size) == CORE_ERR_OK) {
        if (size > CORE_ID_SIZE) {
            memcpy(n->sponsor.bytes, bytes, CORE_ID_SIZE);
            n->sponsor_addresses_size = size - CORE_ID_SIZE;
            memcpy(n->sponsor_addresses, bytes + CORE_ID_SIZE, n->sponsor_addresses_size);
        }
        free(bytes);
    }
    n->host = settings_host_hash();
    return CORE_ERR_OK;
}

// ---- links ----

// Whether an id is a member's: links refuse the other id that has the same X25519 key.
static bool knows(void *context, const struct core_id *id)
{
    struct node *n = context;
    struct gossip_member member;
    return n->peer && gossip_member_find(peer_gossip(n->peer), id, &member);
}

static enum core_err open_links(struct node *n, struct node_failure *why)
{
    struct address listen;
    const char *text = n->options->listen ? n->options->listen : n->settings.listen;
    if (settings_listen(text, "", &listen)) {
        node_failure_set(why, "give HOST:PORT, such as 0.0.0.0:6173", "'%s' is no address to listen on", text);
        return CORE_ERR_USAGE;
    }
    struct links_options options = {.key = &n->key,
                                    .charter = &n->charter,
                                    .revoked = &n->revoked,
                                    .certificate = {n->certificate, n->certificate_size},
                                    .listen = listen,
                                    .host = n->host,
                                    .incarnation = n->incarnation,
                                    .max_links = NODE_LINKS_MAX,
                                    .knows = knows,
                                    .knows_context = n};
    enum core_err err = links_open(&n->links, &options);
    if (err == CORE_ERR_IN_USE) {
        node_failure_set(why, "stop what listens there, or give another --listen HOST:PORT", "port %u is in use",
                         listen.port);
        return err;
    }
    if (err == CORE_ERR_UNREACHABLE) {
        node_failure_set(why, "give --listen with an address of this machine, or 0.0.0.0:PORT",
                         "%s is no address of this machine", text);
        return err;
    }
    if (err) {
        node_failure_set(why, "give --listen with an address of this machine, or 0.0.0.0:PORT",
                         "cannot listen on %s: %s", text,
                         err == CORE_ERR_IO ? "it is no address, or no name that is known here" : core_error_text(err));
        return err;
    }
    n->port = links_port(n->links);
    discovery_open(n, &listen);
    err = discovery_addresses(n, why);
    if (!err) links_set_addresses(n->links, (struct slice){n->address_bytes, n->address_size});
    return err;
}

// ---- protocol ----

static bool certificate_valid(void *context, const struct core_id *id, struct slice name, struct slice certificate)
{
    struct node *n = context;
    struct certificate c;
    if (certificate_verify(certificate, &n->charter, &n->revoked, node_wall_s(), &c)) return false;
    return id_equal(&c.key, id) && strlen(c.name) == name.size && memcmp(c.name, name.data, name.size) == 0;
}

static bool payload_valid(void *context, const struct core_id *origin, enum cast_topic topic, struct slice payload)
{
    struct node *n = context;
    struct revocation revocation;
    (void)origin;
    if (topic != TOPIC_REVOCATION) return false;
    return revocation_verify(payload, &n->charter, &n->revoked, node_wall_s(), &revocation) == CORE_ERR_OK;
}

static enum core_err open_peer(struct node *n, struct node_failure *why)
{
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    struct peer_options options = {
        .gossip = {.key = n->key,
                   .seed = seed,
                   .name = {(const uint8_t *)n->own.name, strlen(n->own.name)},
                   .certificate = {n->certificate, n->certificate_size},
                   .addresses = {n->address_bytes, n->address_size},
                   .site = {(const uint8_t *)n->settings.site, strlen(n->settings.site)},
                   .host = n->host,
                   .incarnation = n->incarnation,
                   .callbacks = {.certificate_valid = certificate_valid, .payload_valid = payload_valid, .context = n},
                   .events = n->events},
        .runs_max = RUNS_MAX};
    enum core_err err = peer_open(&n->peer, &options, n->now_ms);
    if (err) return fail(why, err, "cannot start the protocol", "give it more memory");
    members_file_restore(n);
    n->members_changed = true;
    record_open(n);
    runs_restore(n);
    peer_start(n->peer, n->now_ms, &n->out);
    return CORE_ERR_OK;
}

// ---- workers ----

static enum core_err open_work(struct node *n, struct node_failure *why)
{
    enum core_err err = sched_topology_open(&n->topology);
    if (err) return fail(why, err, "cannot read the machine's topology", "check hwloc with `lstopo`");
    err = inbox_open(&n->inbox, n);
    if (err) return fail(why, err, "cannot start the workers", "free some memory");
    char limit[SCHED_WHY_SIZE] = "";
    err = lanes_open(n, limit);
    if (err && limit[0]) {
        node_failure_set(why, "`mycel hw` shows what this machine has", "%s", limit);
        return err;
    }
    if (err) return fail(why, err, "cannot start the workers", "free some memory");
    char path[HOME_PATH_SIZE + 256];
    home_file(&n->home, "store", path);
    pthread_mutex_init(&n->store.mutex, NULL);
    err = store_open(&n->store.store, path, NULL);
    if (err) return fail(why, err, "cannot open the store", "free some space, or check the home's permissions");
    err = blobs_open(&n->blobs, BLOBS_MAX, n->memory_bytes / 2);
    if (!err) err = outbox_open(&n->out, OUTBOX_EFFECTS, OUTBOX_BYTES);
    if (!err) err = worker_start(&n->sums_worker, "sums", &n->inbox, NULL, NULL, n);
    if (!err) err = worker_start(&n->io_worker, "io", &n->inbox, NULL, NULL, n);
    return err ? fail(why, err, "cannot start the workers", "free some memory") : CORE_ERR_OK;
}

static void close_all(struct node *n)
{
    lanes_stop(n);
    worker_stop(&n->sums_worker);
    worker_stop(&n->io_worker);
    if (n->inbox.fd > 0) inbox_take(&n->inbox);
    lanes_close(n);
    control_server_drain(&n->control, 500);
    control_server_close(&n->control);
    discovery_close(n);
    if (n->links) links_close(n->links);
    transfers_close(&n->transfers);
    dialback_close(n);
    outbound_close(&n->outbound);
    if (n->peer) peer_close(n->peer);
    runs_close(&n->runs);
    catalog_close(&n->catalog);
    record_close(n);
    blobs_close(&n->blobs);
    if (n->out.effects) outbox_close(&n->out);
    store_close(n->store.store);
    if (n->topology) sched_topology_close(n->topology);
    inbox_close(&n->inbox);
    http_close(n->http);  // late: what emits events does so through it
    free(n->certificate);
    identity_forget(&n->key, sizeof n->key);
    home_close(&n->home);
}

// ---- ready ----

// systemd's protocol without its library (sd_notify(3)): a datagram to the socket that NOTIFY_SOCKET names.
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path) return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0 && errno == EPERM) {
        close(fd);
        return;
    }
    close(fd);
}

static void say_ready(struct node *n, int ready)
{
    char id[9];
    hex_encode(id, n->key.id.bytes, 4);
    if (n->fault_update)
        event_emit(&n->events, "node.fault", EV_TEXT("updates", "wrong on purpose, MYCEL_FAULT is set"));
    event_emit(&n->events, "node.ready", EV_TEXT("name", n->own.name), EV_TEXT("id", id),
               EV_TEXT("mesh", n->charter.name), EV_U64("port", n->port),
               EV_U64("threads", compute_threads(&n->lanes.lane[LANE_CPU].compute)),
               EV_U64("memory_budget_bytes", n->memory_bytes), EV_U64("blobs_limit_bytes", n->blobs.limit),
               EV_U64("outbox_bytes", OUTBOX_BYTES));
    notify("READY=1");
    if (ready >= 0 && write(ready, "R", 1) < 0) return;
}

static enum core_err open_all(struct node *n, struct node_failure *why)
{
    enum core_err err = sign_start();
    if (err) return fail(why, err, "libsodium cannot be used", "reinstall it");
    err = open_home(n, why);
    if (!err) err = set_site(n, why);
    if (!err) err = read_rest(n, why);
    if (!err) err = open_links(n, why);
    if (!err) err = open_work(n, why);
    if (!err && n->options->http) err = http_open(&n->http, n, n->options->http_port, why);
    if (!err) err = open_peer(n, why);
    if (err) return err;
    err = control_server_open(&n->control, n->home.path, node_handle_request, n);
    if (err)
        return fail(why, err, "cannot open the control socket",
                    "set XDG_RUNTIME_DIR, or remove /tmp/mycel-UID if it isn't yours");
    return CORE_ERR_OK;
}

// Links, sessions and what peers of this host map from us are a descriptor each: as many as the system allows.
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit)) return;
}

static enum core_err run_here(const struct node_options *o, struct node_failure *why, int ready)
{
    struct node *n = calloc(1, sizeof *n);
    if (!n) return fail(why, CORE_ERR_NO_MEMORY, "cannot start", "free some memory");
    const char *fault = getenv("MYCEL_FAULT");
    n->fault_update = fault && !strcmp(fault, "update");
    if (fault && !strcmp(fault, "brief")) n->certificate_ttl_s = BRIEF_S;
    n->options = o;
    n->home.lock = n->control.listener = n->inbox.fd = -1;
    n->log = (struct events_log){.json = o->log_json, .quiet = o->quiet, .verbose = o->verbose};
    n->events = events_log_sink(&n->log);
    n->now_ms = n->started_ms = node_clock_ms();
    n->started_s = node_wall_s();
    n->trim_ms = n->started_ms + JOIN_MS;
    for (int i = 0; i < CONTROL_SESSIONS_MAX; i++) n->control.sessions[i].fd = -1;
    // hwloc's plugins find graphics cards and such, which nothing here asks for, through 3 MiB of X11 and XML
    // libraries.
    setenv("HWLOC_PLUGINS_PATH", "/dev/null", 0);
    allow_descriptors();
    // An arena a thread would keep what that thread has freed; two are enough for what runs at once.
    mallopt(M_ARENA_MAX, 2);
    // Before the first thread, so that every one inherits it and only the signalfd sees them.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    enum core_err err = open_all(n, why);
    if (!err) {
        node_perform(n);
        say_ready(n, ready);
        err = node_loop(n, signals);
        notify("STOPPING=1");
    }
    close_all(n);
    if (signals >= 0) close(signals);
    free(n);
    return err;
}

// ---- detached ----

// Only `ready` and the standard three stay open: a pipe of the caller's, kept, would make whoever reads it wait for
// ever.
static void become_daemon(const struct node_options *o, int ready)
{
    setsid();
    if (ready > 3) close_range(3, (unsigned)ready - 1, 0);
    close_range((unsigned)ready + 1, ~0u, 0);
    char path[HOME_PATH_SIZE + 8];
    snprintf(path, sizeof path, "%s/log", o->home);
    int null = open("/dev/null", O_RDWR), log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (null >= 0) dup2(null, 0);
    if (log < 0) log = null;
    if (log >= 0) {
        dup2(log, 1);
        dup2(log, 2);
    }
    if (null > 2 && null != ready) close(null);
    if (log > 2 && log != null) close(log);
    setvbuf(stderr, NULL, _IOLBF, 0);
}

struct detach_failure {
    enum core_err err;
    struct node_failure why;
};

static enum core_err run_detached(const struct node_options *o, struct node_failure *why)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return fail(why, core_error_from_errno(errno), "cannot detach", "run it without --detach");
    pid_t pid = fork();
    if (pid < 0) return fail(why, core_error_from_errno(errno), "cannot detach", "run it without --detach");
    if (pid == 0) {
        close(ends[0]);
        become_daemon(o, ends[1]);
        struct detach_failure f = {0};
        f.err = run_here(o, &f.why, ends[1]);
        ssize_t sent = f.err ? write(ends[1], &f, sizeof f) : 0;
        _exit(f.err && sent >= 0 ? core_error_exit(f.err) : 0);
    }
    close(ends[1]);
    struct detach_failure f = {0};
    size_t got = 0;
    for (;;) {
        ssize_t n = read(ends[0], (uint8_t *)&f + got, sizeof f - got);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        got += (size_t)n;
        if (got == 1 && *(uint8_t *)&f == 'R') break;
    }
    close(ends[0]);
    if (got == 1) return CORE_ERR_OK;
    waitpid(pid, NULL, 0);
    if (got == sizeof f) {
        *why = f.why;
        return f.err;
    }
    node_failure_set(why, "look at HOME/log", "the daemon ended while starting");
    return CORE_ERR_FAILED;
}

enum core_err node_run(const struct node_options *o, struct node_failure *why)
{
    *why = (struct node_failure){0};
    return o->detach ? run_detached(o, why) : run_here(o, why, -1);
}
