#include "bench/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/check.h"

enum { TABLE_FIRST = 1000, SCRIPT_MAX = 256 * 1024 };

void netns_address(uint32_t index, char out[NETNS_ADDRESS_MAX])
{
    snprintf(out, NETNS_ADDRESS_MAX, "127.0.%u.%u", 1 + index / 200, 1 + index % 200);
}

void netns_enter(const struct netns *ns)
{
    if (ns->fd >= 0) check(setns(ns->fd, CLONE_NEWNET) == 0);
}

void netns_leave(const struct netns *ns)
{
    if (ns->fd >= 0) check(setns(ns->before, CLONE_NEWNET) == 0);
}

// Runs a program inside with `script` on its stdin; true when it ended well.
static bool feed(const struct netns *ns, const char *const argv[], const char *script)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return false;
    netns_enter(ns);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(ends[0], 0);
        dup2(null, 1);
        if (!getenv("MYCEL_BENCH_VERBOSE")) dup2(null, 2);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    netns_leave(ns);
    close(ends[0]);
    for (size_t sent = 0, size = strlen(script); pid > 0 && sent < size;) {
        ssize_t n = write(ends[1], script + sent, size - sent);
        if (n < 0 && errno != EINTR) break;
        if (n > 0) sent += (size_t)n;
    }
    close(ends[1]);
    int status = 1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A route table for each process, picked by its user, whose only content is the address to send from. The rule for
// local addresses, which comes first otherwise, goes behind them.
static bool configure(const struct netns *ns)
{
    char *script = malloc(SCRIPT_MAX);
    if (!script) return false;
    size_t size =
        (size_t)snprintf(script, SCRIPT_MAX, "link set lo up\nrule add pref 100 lookup local\nrule del pref 0\n");
    for (uint32_t i = 0; i < ns->nodes && size < SCRIPT_MAX; i++) {
        char address[NETNS_ADDRESS_MAX];
        uint32_t user = NETNS_USER + i, table = TABLE_FIRST + i;
        netns_address(i, address);
        size += (size_t)snprintf(script + size, SCRIPT_MAX - size,
                                 "rule add pref 10 uidrange %u-%u lookup %u\n"
                                 "route add local 127.0.0.0/8 dev lo src %s table %u\n",
                                 user, user, table, address, table);
    }
    bool ok = size < SCRIPT_MAX && feed(ns, (const char *const[]){"ip", "-batch", "-", NULL}, script);
    free(script);
    return ok;
}

bool netns_open(struct netns *ns, uint32_t nodes, char *why, size_t why_size)
{
    check(nodes <= NETNS_NODES_MAX);
    *ns = (struct netns){.fd = -1, .nodes = nodes};
    ns->before = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (ns->before < 0 || unshare(CLONE_NEWNET)) {
        snprintf(why, why_size, "no private network: %s (run it as root)", strerror(errno));
        netns_close(ns);
        return false;
    }
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    check(setns(ns->before, CLONE_NEWNET) == 0);
    ns->fd = fd;
    if (fd >= 0 && configure(ns)) return true;
    snprintf(why, why_size, "no private network: `ip -batch` failed (is iproute2 installed?)");
    netns_close(ns);
    return false;
}

void netns_close(struct netns *ns)
{
    if (ns->fd >= 0) close(ns->fd);
    if (ns->before >= 0) close(ns->before);
    ns->fd = ns->before = -1;
}

bool netns_counters(const struct netns *ns, uint64_t *bytes, uint64_t *packets)
{
    if (ns->fd < 0) return false;
    netns_enter(ns);
    FILE *file = fopen("/proc/thread-self/net/dev", "re");
    netns_leave(ns);
    bool found = false;
    char line[512];
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *at = strstr(line, "lo:");
        found = at && sscanf(at + 3, "%" SCNu64 " %" SCNu64, bytes, packets) == 2;
    }
    if (file) fclose(file);
    return found;
}

// "{ 127.0.1.1, 127.0.1.2 }" for processes first to end - 1.
static size_t set_of(char *out, size_t size, uint32_t first, uint32_t end)
{
    size_t used = (size_t)snprintf(out, size, "{ ");
    for (uint32_t i = first; i < end && used < size; i++) {
        char address[NETNS_ADDRESS_MAX];
        netns_address(i, address);
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > first ? ", " : "", address);
    }
    return used + (size_t)snprintf(out + used, used < size ? size - used : 0, " }");
}

static const char table[] = "add table ip bench\n"
                            "add chain ip bench in { type filter hook input priority 0; }\n";

// On their way in: the sender sees nothing but silence.
static bool drop(const struct netns *ns, const char *rules)
{
    return ns->fd >= 0 && feed(ns, (const char *const[]){"nft", "-f", "-", NULL}, rules);
}

bool netns_cut_half(const struct netns *ns, uint32_t count)
{
    char *rules = malloc(SCRIPT_MAX), *left = malloc(SCRIPT_MAX / 8), *right = malloc(SCRIPT_MAX / 8);
    bool ok = rules && left && right;
    if (ok) {
        set_of(left, SCRIPT_MAX / 8, 0, count);
        set_of(right, SCRIPT_MAX / 8, count, ns->nodes);
        snprintf(
            rules, SCRIPT_MAX,
            "%sadd rule ip bench in ip saddr %s ip daddr %s drop\nadd rule ip bench in ip saddr %s ip daddr %s drop\n",
            table, left, right, right, left);
        ok = drop(ns, rules);
    }
    free(rules);
    free(left);
    free(right);
    return ok;
}

bool netns_cut_one(const struct netns *ns, uint32_t index)
{
    char address[NETNS_ADDRESS_MAX], rules[512];
    netns_address(index, address);
    snprintf(rules, sizeof rules, "%sadd rule ip bench in ip saddr %s drop\nadd rule ip bench in ip daddr %s drop\n",
             table, address, address);
    return drop(ns, rules);
}

bool netns_heal(const struct netns *ns)
{
    return drop(ns, "add table ip bench\ndelete table ip bench\n");
}
