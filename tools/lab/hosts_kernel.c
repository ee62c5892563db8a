#include "tools/lab/hosts_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/check.h"
#include "tools/lab/relay.h"
#include "tools/spawn.h"

enum {
    ROUTE_TABLE = 77,
    BURST_MIN = 16384,
    BURST_MAX = 1 << 20,
    QUEUE_MS = 50,        // of a link's rate wait in front of it, then packets are lost: a home router's
    RELAY_QUEUE = 16384,  // packets between the kernel and the relay
    SEGMENTS_MAX = 65535  // the kernel's usual
};

void hosts_script_add(struct hosts_script *s, const char *format, ...)
{
    va_list list;
    char line[256];
    va_start(list, format);
    int size = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    check(size >= 0 && size < (int)sizeof line);
    if (s->size + (size_t)size + 1 > s->capacity) {
        s->capacity = 2 * (s->capacity + sizeof line);
        s->text = realloc(s->text, s->capacity);
        check(s->text);
    }
    memcpy(s->text + s->size, line, (size_t)size + 1);
    s->size += (size_t)size;
}

void hosts_script_free(struct hosts_script *s)
{
    free(s->text);
    *s = (struct hosts_script){0};
}

enum core_err hosts_script_run(struct hosts_script *s, const char *tag, int place, const char *program, bool force,
                               char why[HOSTS_WHY_SIZE])
{
    if (s->size == 0) return CORE_ERR_OK;
    char *words[5] = {(char *)program};  // exec's signature; nobody writes
    size_t count = 1;
    bool nft = strcmp(program, "nft") == 0;
    if (force && !nft) words[count++] = "-force";
    words[count++] = nft ? "-f" : "-batch";
    words[count++] = "-";
    int network = place == HOSTS_OUTSIDE ? -1 : hosts_open(tag, (unsigned)place);
    struct spawn spawn;
    char said[4096] = "";
    enum core_err err = CORE_ERR_OK;
    if (place != HOSTS_OUTSIDE && network < 0) {
        snprintf(why, HOSTS_WHY_SIZE, "host %d of tag %s is gone; 'mycel lab hosts up' makes it again", place, tag);
        err = CORE_ERR_NOT_FOUND;
    } else {
        err = spawn_start_in(&spawn, network, program, words, s->text);
        int status = err ? 127 : spawn_wait(&spawn, said, sizeof said);
        if (status != 0 && !force) {
            said[strcspn(said, "\n")] = '\0';
            if (err || status == 127)
                snprintf(why, HOSTS_WHY_SIZE,
                         "cannot run %s, which the hosts are made with; 'apt-get install iproute2 nftables' brings it",
                         program);
            else
                snprintf(why, HOSTS_WHY_SIZE, "%s failed: %.200s; 'mycel lab hosts down' removes what was made so far",
                         program, said[0] ? said : "it said nothing");
            err = CORE_ERR_FAILED;
        }
    }
    if (network >= 0) close(network);
    s->size = 0;
    return err;
}

enum core_err hosts_kernel_ready(char why[HOSTS_WHY_SIZE])
{
    const char *path = getenv("PATH");
    char wider[4096];
    snprintf(wider, sizeof wider, "%.3900s:/usr/sbin:/sbin:/usr/bin:/bin", path ? path : "/usr/local/bin");
    setenv("PATH", wider, 1);
    // What a person may do here, tried: a network of one's own is what everything else is made of.
    pid_t child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWNET) == 0 ? 0 : 1);
    int status = 1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (status == 0 && access("/run", W_OK) == 0) return CORE_ERR_OK;
    snprintf(why, HOSTS_WHY_SIZE,
             "hosts are network namespaces, and making them needs root; use sudo, or, where the kernel lets "
             "users have namespaces, a shell of your own: unshare -Urnm sh -c 'mount -t tmpfs none /run; exec sh'");
    return CORE_ERR_REFUSED;
}

enum core_err hosts_kernel_set(const char *tag, int place, const char *name, const char *value)
{
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other = hosts_open(tag, (unsigned)place);
    enum core_err err = CORE_ERR_NOT_FOUND;
    if (own >= 0 && other >= 0 && setns(other, CLONE_NEWNET) == 0) {
        char path[128];
        snprintf(path, sizeof path, "/proc/sys/net/%s", name);
        int file = open(path, O_WRONLY | O_CLOEXEC);
        ssize_t size = file >= 0 ? write(file, value, strlen(value)) : -1;
        err = size == (ssize_t)strlen(value) ? CORE_ERR_OK : core_error_from_errno(errno);
        if (file >= 0) close(file);
        check(setns(own, CLONE_NEWNET) == 0);
    }
    if (own >= 0) close(own);
    if (other >= 0) close(other);
    return err;
}

// The part of the table for what arrives at `number`: senders that are cut off from it, then loss by chance.
static bool drops_for(struct hosts_script *s, const struct hosts_table *table, unsigned number)
{
    bool any = false;
    for (unsigned from = 1; from <= table->count; from++) {
        if (!table->cut[from][number]) continue;
        if (!any) hosts_script_add(s, "chain to%u {\nip saddr & 0.0.0.255 {", number);
        hosts_script_add(s, "%s0.0.0.%u", any ? "," : "", from);
        any = true;
    }
    if (any) hosts_script_add(s, "} counter drop\n");
    if (table->loss_millionth[number] == 0) {
        if (any) hosts_script_add(s, "}\n");
        return any;
    }
    if (!any) hosts_script_add(s, "chain to%u {\n", number);
    hosts_script_add(s, "numgen random mod 1000000 < %u counter drop\n}\n", table->loss_millionth[number]);
    return true;
}

enum core_err hosts_kernel_drops(const char *tag, const struct hosts_table *table, char why[HOSTS_WHY_SIZE])
{
    struct hosts_script s = {0}, verdicts = {0};
    bool any = false;
    // One transaction: from one packet to the next everything holds at once. What goes to the relay comes by again.
    hosts_script_add(&s, "table ip lab {}\ndelete table ip lab\ntable ip lab {\n");
    for (unsigned k = 1; k <= table->count; k++) {
        if (!drops_for(&s, table, k)) continue;
        hosts_script_add(&verdicts, "%s\"h%u\" : jump to%u", any ? "," : "", k, k);
        any = true;
    }
    if (any) {
        hosts_script_add(&s, "chain drops {\ntype filter hook forward priority 0\noifname vmap {");
        hosts_script_add(&verdicts, "}\n}\n}\n");
        s.text = realloc(s.text, s.capacity = s.size + verdicts.size + 1);
        check(s.text);
        memcpy(s.text + s.size, verdicts.text, verdicts.size + 1);
        s.size += verdicts.size;
    } else {
        s.size = 0;
        hosts_script_add(&s, "table ip lab {}\ndelete table ip lab\n");
    }
    enum core_err err = hosts_script_run(&s, tag, HOSTS_ROUTER, "nft", false, why);
    hosts_script_free(&s);
    hosts_script_free(&verdicts);
    return err;
}

enum core_err hosts_kernel_segments(const char *tag, const struct hosts_table *table, char why[HOSTS_WHY_SIZE])
{
    bool lossy = false;
    for (unsigned k = 1; k <= table->count; k++) lossy = lossy || table->loss_millionth[k] > 0;
    struct hosts_script s = {0};
    enum core_err err = CORE_ERR_OK;
    for (unsigned k = 1; !err && k <= table->count; k++) {
        hosts_script_add(&s, "link set eth0 gso_max_segs %d\n", lossy ? 1 : SEGMENTS_MAX);
        err = hosts_script_run(&s, tag, (int)k, "ip", false, why);
    }
    hosts_script_free(&s);
    return err;
}

static void shape(struct hosts_script *s, const char *device, uint64_t rate_bits)
{
    // 4 ms of the rate at once, so that timers need not be exact and large segments may pass whole.
    uint64_t burst = rate_bits / 8 / 250;
    if (burst < BURST_MIN) burst = BURST_MIN;
    if (burst > BURST_MAX) burst = BURST_MAX;
    if (rate_bits == 0)
        hosts_script_add(s, "qdisc replace dev %s root noqueue\n", device);
    else
        hosts_script_add(s, "qdisc replace dev %s root tbf rate %llubit burst %llu latency %dms\n", device,
                         (unsigned long long)rate_bits, (unsigned long long)burst, QUEUE_MS);
}

enum core_err hosts_kernel_rate(const char *tag, const struct hosts_table *table, unsigned number,
                                char why[HOSTS_WHY_SIZE])
{
    struct hosts_script s = {0};
    char device[16];
    snprintf(device, sizeof device, "h%u", number);
    shape(&s, "eth0", table->rate_bits[number]);
    enum core_err err = hosts_script_run(&s, tag, (int)number, "tc", false, why);
    if (!err) {
        shape(&s, device, table->rate_bits[number]);
        err = hosts_script_run(&s, tag, HOSTS_ROUTER, "tc", false, why);
    }
    hosts_script_free(&s);
    return err;
}

enum core_err hosts_kernel_delays(const char *tag, struct hosts_state *state, char why[HOSTS_WHY_SIZE])
{
    bool any = false;
    const struct hosts_table *table = state->table;
    for (unsigned from = 1; from <= table->count; from++)
        for (unsigned to = 1; to <= table->count; to++) any = any || table->delay_us[from][to] > 0;
    struct hosts_script s = {0};
    enum core_err err = CORE_ERR_OK;
    if (any && !relay_runs(tag)) err = relay_start(tag, state, why);
    if (!err) {
        // The detour is made or unmade by its rule; making it again is no failure.
        hosts_script_add(&s, "rule del pref 10\nrule del pref 20\n");
        err = hosts_script_run(&s, tag, HOSTS_ROUTER, "ip", true, why);
    }
    if (!err && any) {
        hosts_script_add(&s, "link set %s txqueuelen %d up\n", RELAY_DEVICE, RELAY_QUEUE);
        hosts_script_add(&s, "route replace 10.77.0.0/16 dev %s table %d\n", RELAY_DEVICE, ROUTE_TABLE);
        hosts_script_add(&s, "rule add pref 10 iif %s lookup main\nrule add pref 20 lookup %d\n", RELAY_DEVICE,
                         ROUTE_TABLE);
        err = hosts_script_run(&s, tag, HOSTS_ROUTER, "ip", false, why);
    }
    hosts_script_free(&s);
    return err;
}
