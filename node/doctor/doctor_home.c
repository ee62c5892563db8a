#include "node/doctor/doctor_home.h"

#include <errno.h>
#include <netdb.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/certificate.h"
#include "mesh/identity.h"
#include "node/doctor/port_owner.h"
#include "node/settings.h"
#include "sched/cgroup.h"

enum { PATH_SIZE = HOME_PATH_SIZE + 256, LINE_SIZE = 512, ANSWER_MS = 700 };

// ---- the home's files ----

static bool mode_of(const char *path, uint32_t *mode, uid_t *owner)
{
    struct stat st;
    if (stat(path, &st)) return false;
    *mode = st.st_mode & 07777;
    if (owner) *owner = st.st_uid;
    return true;
}

// Why the folder cannot be used; NULL where it can. root may do what others' modes forbid.
static const char *why_closed(const struct home *h, uid_t owner, char text[64])
{
    if (access(h->path, R_OK | W_OK | X_OK) != 0) return strerror(errno);
    if (owner == geteuid() || geteuid() == 0) return NULL;
    snprintf(text, 64, "it belongs to user %u, and this is user %u", (unsigned)owner, (unsigned)geteuid());
    return text;
}

static void read_revoked(const struct home *h, const struct core_key *key, struct revocations *revoked, bool *own)
{
    uint8_t *bytes;
    size_t size;
    if (home_read(h, "revocations", sizeof revoked->keys, &bytes, &size)) return;
    revoked->count = (uint32_t)(size / sizeof *revoked->keys);
    memcpy(revoked->keys, bytes, revoked->count * sizeof *revoked->keys);
    free(bytes);
    *own = revocations_has(revoked, &key->id);
}

static void read_certificate(const struct home *h, const struct core_key *key, struct checks_home_facts *f)
{
    uint8_t *bytes = NULL;
    size_t size;
    struct charter charter;
    struct certificate own;
    f->charter = home_read(h, "charter", CHARTER_MAX, &bytes, &size);
    if (!f->charter) f->charter = charter_decode((struct slice){bytes, size}, &charter);
    free(bytes);
    if (f->charter) return;
    f->founded_s = charter.created_s;
    bytes = NULL;
    f->certificate = home_read(h, "certificate", CERTIFICATE_MAX, &bytes, &size);
    if (!f->certificate) {
        f->certificate_decoded = certificate_decode((struct slice){bytes, size}, &own) == CORE_ERR_OK;
        f->certificate = certificate_verify((struct slice){bytes, size}, &charter, NULL, f->now_s, &own);
    }
    if (f->certificate_decoded) {
        f->issued_s = own.issued_s;
        f->expires_s = own.expires_s;
        f->other_key = !f->key && !id_equal(&own.key, &key->id);
    }
    free(bytes);
}

bool doctor_home(struct checks *c, const char *home)
{
    struct home h = {.lock = -1};
    char path[PATH_SIZE], text[64];
    struct checks_home_facts f = {.home = h.path, .now_s = (uint64_t)time(NULL)};
    struct core_key key = {0};
    struct settings settings;
    uid_t owner = 0;
    snprintf(h.path, sizeof h.path, "%s", home);
    home_file(&h, "key", path);
    f.there = access(path, F_OK) == 0;
    if (!f.there && errno != ENOENT && errno != ENOTDIR) f.closed = strerror(errno);
    if (f.there && mode_of(h.path, &f.mode, &owner)) f.closed = why_closed(&h, owner, text);
    if (f.there) {
        struct revocations *revoked = calloc(1, sizeof *revoked);
        (void)mode_of(path, &f.key_mode, NULL);
        const bool lent = geteuid() == 0 && owner != 0 && seteuid(owner) == 0;  // a key is its owner's: root asks as he
        f.key = identity_load(path, &key);
        check(!lent || seteuid(0) == 0);
        f.settings = settings_read(&h, &settings);
        read_certificate(&h, &key, &f);
        if (revoked && !f.key) read_revoked(&h, &key, revoked, &f.revoked);
        free(revoked);
        identity_forget(&key, sizeof key);
    }
    checks_home(c, &f);
    return f.there;
}

void doctor_disk(struct checks *c, const char *home)
{
    struct statvfs v;
    char path[HOME_PATH_SIZE];
    snprintf(path, sizeof path, "%s", home);
    // A home that is not there yet would lie where its nearest folder does.
    while (statvfs(path, &v)) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) return;
        *slash = 0;
    }
    checks_disk(c, &(struct checks_disk_facts){.home = home,
                                               .free_bytes = (uint64_t)v.f_bavail * v.f_frsize,
                                               .size_bytes = (uint64_t)v.f_blocks * v.f_frsize,
                                               .files_free = v.f_favail,
                                               .files = v.f_files});
}

// ---- the process ----

static FILE *open_proc(int pid, const char *name)
{
    char path[64];
    if (pid)
        snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    else
        snprintf(path, sizeof path, "/proc/self/%s", name);
    return fopen(path, "re");
}

// "Max open files  1024  4096  files": the soft or the hard limit.
static uint64_t limit_of(FILE *f, const char *name, bool hard)
{
    char line[LINE_SIZE], soft_text[32], hard_text[32];
    rewind(f);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, name, strlen(name)) != 0) continue;
        if (sscanf(line + strlen(name), "%31s %31s", soft_text, hard_text) != 2) break;
        const char *text = hard ? hard_text : soft_text;
        return strcmp(text, "unlimited") == 0 ? UINT64_MAX : strtoull(text, NULL, 10);
    }
    return UINT64_MAX;
}

void doctor_limits(struct checks *c, int pid, uint32_t cpus)
{
    struct checks_limits_facts f = {.open_files = UINT64_MAX, .locked_bytes = UINT64_MAX, .group_bytes = UINT64_MAX};
    FILE *limits = open_proc(pid, "limits");
    if (limits) {
        f.open_files = limit_of(limits, "Max open files", pid == 0);  // a daemon takes what it may as it starts
        f.locked_bytes = limit_of(limits, "Max locked memory", false);
        fclose(limits);
    }
    struct sched_cgroup group;
    sched_cgroup_read_of("", pid, &group);
    if (group.memory_bytes) f.group_bytes = group.memory_bytes;
    cpu_set_t set;
    f.cpus_machine = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (pid == 0 && sched_getaffinity(0, sizeof set, &set) == 0) cpus = (uint32_t)CPU_COUNT(&set);
    f.cpus = cpus ? cpus : f.cpus_machine;
    if (group.cpus && group.cpus < f.cpus) f.cpus = group.cpus;
    checks_limits(c, &f);
}

// ---- the port ----

// As the daemon would: bound, and let go at once.
static void try_bind(const struct address *a, struct checks_port_facts *f)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char port[8];
    const char *host = address_is_any(a) && !a->v6 ? NULL : a->host;
    if (!host) hints.ai_family = AF_INET;
    snprintf(port, sizeof port, "%u", a->port);
    f->state = PORT_ELSEWHERE;
    if (getaddrinfo(host, port, &hints, &found)) return;
    int one = 1, fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0;
    if (ok)
        f->state = PORT_FREE;
    else if (errno == EADDRINUSE)
        f->state = PORT_TAKEN;
    else if (errno != EADDRNOTAVAIL)
        f->state = PORT_DENIED;
    if (f->state == PORT_DENIED) f->why = strerror(errno);
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
}

void doctor_port(struct checks *c, const char *listen, uint16_t port, bool runs)
{
    char text[ADDRESS_TEXT_MAX], who[128] = "";
    struct address a;
    struct checks_port_facts f = {.state = PORT_UNKNOWN, .listen = text, .who = who, .why = ""};
    if (settings_listen(listen, "", &a)) {
        checks_port(c, &f);
        return;
    }
    if (port) a.port = port;
    f.port = a.port;
    address_format(&a, text);
    if (runs) {
        struct address near = a;
        if (address_is_any(&a)) snprintf(near.host, sizeof near.host, "%s", a.v6 ? "::1" : "127.0.0.1");
        enum dialback_result result = dialback_try_now(&near, ANSWER_MS);
        // A name is not dialled; whether it answers is for the peers to say.
        f.state = result == DIALBACK_ANSWERS ? PORT_ANSWERS : result == DIALBACK_NOT_TRIED ? PORT_UNKNOWN : PORT_MUTE;
        f.why = dialback_result_text(result);
    } else {
        try_bind(&a, &f);
        if (f.state == PORT_TAKEN) port_owner(a.port, who, sizeof who);
    }
    checks_port(c, &f);
}
