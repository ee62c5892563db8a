#include "tools/lab/hosts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/args.h"
#include "tools/lab/hosts_kernel.h"
#include "tools/lab/relay.h"

#define NAMES   "/run/netns"
#define GATEWAY "10.77.255.254"

enum { END_MS = 5000, POLL_MS = 10, GENERATIONS = 250 };

bool hosts_tag_valid(const char *tag)
{
    size_t size = strspn(tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return size > 0 && size <= 20 && tag[size] == '\0';
}

char *hosts_name(char out[HOSTS_NAME_SIZE], const char *tag, unsigned number)
{
    if (number == HOSTS_ROUTER)
        snprintf(out, HOSTS_NAME_SIZE, "mycel-%.23s-net", tag);
    else
        snprintf(out, HOSTS_NAME_SIZE, "mycel-%.23s-%u", tag, number);
    return out;
}

char *hosts_address(char out[HOSTS_ADDRESS_SIZE], unsigned number, unsigned generation)
{
    snprintf(out, HOSTS_ADDRESS_SIZE, "10.77.%u.%u", generation % 256, number % 256);
    return out;
}

char *hosts_address_now(char out[HOSTS_ADDRESS_SIZE], const char *tag, unsigned number)
{
    struct hosts_state state;
    unsigned generation = 0;
    if (hosts_state_peek(&state, tag) == CORE_ERR_OK) {
        generation = state.table->generation[number];
        hosts_state_close(&state);
    }
    return hosts_address(out, number, generation);
}

static char *name_path(char out[sizeof NAMES + HOSTS_NAME_SIZE], const char *tag, unsigned number)
{
    char name[HOSTS_NAME_SIZE];
    snprintf(out, sizeof NAMES + HOSTS_NAME_SIZE, NAMES "/%s", hosts_name(name, tag, number));
    return out;
}

static bool exists(const char *tag, unsigned number)
{
    char path[sizeof NAMES + HOSTS_NAME_SIZE];
    return access(name_path(path, tag, number), F_OK) == 0;
}

int hosts_open(const char *tag, unsigned number)
{
    char path[sizeof NAMES + HOSTS_NAME_SIZE];
    return open(name_path(path, tag, number), O_RDONLY | O_CLOEXEC);
}

unsigned hosts_count(const char *tag)
{
    unsigned count = 0;
    while (count < HOSTS_MAX && exists(tag, count + 1)) count++;
    return count;
}

// ---- making ----

static enum core_err make_router(const char *tag, char *why)
{
    struct hosts_script s = {0};
    char name[HOSTS_NAME_SIZE];
    hosts_script_add(&s, "netns add %s\n", hosts_name(name, tag, HOSTS_ROUTER));
    enum core_err err = hosts_script_run(&s, tag, HOSTS_OUTSIDE, "ip", false, why);
    if (!err) (void)hosts_kernel_set(tag, HOSTS_ROUTER, "ipv6/conf/all/disable_ipv6", "1");
    if (!err) (void)hosts_kernel_set(tag, HOSTS_ROUTER, "ipv6/conf/default/disable_ipv6", "1");
    if (!err) err = hosts_kernel_set(tag, HOSTS_ROUTER, "ipv4/conf/all/rp_filter", "0");
    if (!err) err = hosts_kernel_set(tag, HOSTS_ROUTER, "ipv4/conf/default/rp_filter", "0");
    if (!err) err = hosts_kernel_set(tag, HOSTS_ROUTER, "ipv4/ip_forward", "1");
    if (err && !why[0]) snprintf(why, HOSTS_WHY_SIZE, "cannot set up %s: %s", name, core_error_text(err));
    // An address that nobody has is silence, as on a network, not a message that says so.
    hosts_script_add(&s, "link set lo up\nroute add blackhole default\n");
    if (!err) err = hosts_script_run(&s, tag, HOSTS_ROUTER, "ip", false, why);
    hosts_script_free(&s);
    return err;
}

// Neighbours are fixed: no ARP on the wire, and no table of the kernel's that fills with thousands of them.
static void router_lines(struct hosts_script *s, unsigned number, unsigned generation)
{
    char address[HOSTS_ADDRESS_SIZE];
    hosts_address(address, number, generation);
    hosts_script_add(s, "neigh replace %s lladdr 02:77:00:00:00:%02x dev h%u nud permanent\n", address, number, number);
    hosts_script_add(s, "route replace %s/32 dev h%u\n", address, number);
}

static void host_lines(struct hosts_script *s, unsigned number, unsigned generation)
{
    char address[HOSTS_ADDRESS_SIZE];
    hosts_address(address, number, generation);
    hosts_script_add(s, "addr add %s/32 dev eth0\n", address);
    hosts_script_add(s, "link set eth0 up\nlink set lo up\n");
    hosts_script_add(s, "neigh replace " GATEWAY " lladdr 02:77:01:00:00:%02x dev eth0 nud permanent\n", number);
    hosts_script_add(s, "route replace default via " GATEWAY " dev eth0 onlink src %s\n", address);
}

// Makes those up to `count` that are missing or were left half made.
static enum core_err make_hosts(const char *tag, struct hosts_table *table, unsigned count, char *why)
{
    struct hosts_script names = {0}, links = {0}, s = {0};
    bool fresh[HOSTS_MAX + 1] = {false};
    char name[HOSTS_NAME_SIZE];
    for (unsigned k = 1; k <= count; k++) {
        bool there = exists(tag, k);
        fresh[k] = !there || !table->made[k];
        if (!fresh[k]) continue;
        table->made[k] = 0;
        table->generation[k] = 0;
        hosts_name(name, tag, k);
        if (there) hosts_script_add(&names, "netns del %s\n", name);
        hosts_script_add(&names, "netns add %s\n", name);
        hosts_script_add(&s, "link del h%u\n", k);
        hosts_script_add(&links,
                         "link add h%u address 02:77:01:00:00:%02x type veth peer name eth0 "
                         "address 02:77:00:00:00:%02x netns %s\nlink set h%u up\n",
                         k, k, k, name, k);
        router_lines(&links, k, 0);
    }
    enum core_err err = hosts_script_run(&names, tag, HOSTS_OUTSIDE, "ip", false, why);
    if (!err) err = hosts_script_run(&s, tag, HOSTS_ROUTER, "ip", true, why);
    for (unsigned k = 1; !err && k <= count; k++) {
        if (!fresh[k]) continue;
        (void)hosts_kernel_set(tag, (int)k, "ipv6/conf/all/disable_ipv6", "1");
        (void)hosts_kernel_set(tag, (int)k, "ipv6/conf/default/disable_ipv6", "1");
    }
    if (!err) err = hosts_script_run(&links, tag, HOSTS_ROUTER, "ip", false, why);
    for (unsigned k = 1; !err && k <= count; k++) {
        if (!fresh[k]) continue;
        host_lines(&s, k, 0);
        err = hosts_script_run(&s, tag, (int)k, "ip", false, why);
        if (!err) table->made[k] = 1;
    }
    if (!err && table->count < count) table->count = count;
    hosts_script_free(&names);
    hosts_script_free(&links);
    hosts_script_free(&s);
    return err;
}

static enum core_err open_state(struct hosts_state *state, const char *tag, char *why)
{
    why[0] = '\0';
    if (!hosts_tag_valid(tag)) {
        snprintf(why, HOSTS_WHY_SIZE, "'%.40s' is no tag; use letters, digits and _, at most 20", tag);
        return CORE_ERR_USAGE;
    }
    enum core_err err = hosts_kernel_ready(why);
    if (err) return err;
    err = hosts_state_open(state, tag);
    char path[64];
    if (err)
        snprintf(why, HOSTS_WHY_SIZE, "cannot write %s: %s; making hosts needs root", hosts_state_path(path, tag, ""),
                 core_error_text(err));
    return err;
}

static enum core_err remove_all(const char *tag, struct hosts_state *state, char *why);

enum core_err hosts_up(const char *tag, const struct hosts_options *o, char why[HOSTS_WHY_SIZE])
{
    struct hosts_state state;
    enum core_err err = open_state(&state, tag, why);
    if (err) return err;
    struct hosts_table *t = state.table;
    if (!exists(tag, HOSTS_ROUTER) || !t->made[HOSTS_ROUTER]) {
        err = remove_all(tag, &state, why);
        if (!err) err = make_router(tag, why);
        if (!err) t->made[HOSTS_ROUTER] = 1;
    }
    bool had_delay = false, had_rate = false, had_drop = false;
    for (unsigned from = 0; from <= HOSTS_MAX; from++) {
        had_rate = had_rate || t->rate_bits[from] > 0;
        had_drop = had_drop || t->loss_millionth[from] > 0;
        for (unsigned to = 0; to <= HOSTS_MAX; to++) {
            had_drop = had_drop || t->cut[from][to];
            had_delay = had_delay || t->delay_us[from][to] > 0;
        }
    }
    if (!err) err = make_hosts(tag, t, o->count, why);
    for (unsigned from = 1; !err && from <= t->count; from++) {
        t->rate_bits[from] = o->rate_bits;
        t->loss_millionth[from] = o->loss_millionth;
        for (unsigned to = 1; to <= t->count; to++) {
            t->cut[from][to] = 0;
            t->delay_us[from][to] = from == to ? 0 : o->delay_us;
        }
    }
    if (!err && (had_drop || o->loss_millionth > 0)) err = hosts_kernel_drops(tag, t, why);
    if (!err && (had_drop || o->loss_millionth > 0)) err = hosts_kernel_segments(tag, t, why);
    for (unsigned k = 1; !err && (had_rate || o->rate_bits > 0) && k <= t->count; k++)
        err = hosts_kernel_rate(tag, t, k, why);
    if (!err && (had_delay || o->delay_us > 0)) err = hosts_kernel_delays(tag, &state, why);
    hosts_state_close(&state);
    return err;
}

// ---- removing ----

struct names {
    char tag[HOSTS_TAG_SIZE];
    struct hosts_script removal;
    ino_t inodes[HOSTS_MAX + 2];
    unsigned count;
};

static void find_names(struct names *n)
{
    char prefix[HOSTS_NAME_SIZE];
    int length = snprintf(prefix, sizeof prefix, "mycel-%s-", n->tag);
    DIR *folder = opendir(NAMES);
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        const char *rest = entry->d_name + length;
        if (strncmp(entry->d_name, prefix, (size_t)length) != 0) continue;
        if (strcmp(rest, "net") != 0 && (!*rest || strspn(rest, "0123456789") != strlen(rest))) continue;
        struct stat about;
        char path[sizeof NAMES + HOSTS_NAME_SIZE];
        snprintf(path, sizeof path, NAMES "/%.47s", entry->d_name);
        hosts_script_add(&n->removal, "netns del %.47s\n", entry->d_name);
        if (n->count < HOSTS_MAX + 2 && stat(path, &about) == 0) n->inodes[n->count++] = about.st_ino;
    }
    if (folder) closedir(folder);
}

// Ends the processes in those namespaces; how many there were.
static unsigned end_processes(const struct names *n)
{
    unsigned ended = 0;
    DIR *folder = opendir("/proc");
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        uint64_t number;
        if (!args_read_number(entry->d_name, &number) || number > INT32_MAX) continue;
        int pid = (int)number;
        char path[64];
        struct stat about;
        snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
        if (pid <= 1 || pid == (int)getpid() || stat(path, &about) != 0) continue;
        for (unsigned i = 0; i < n->count; i++) {
            if (n->inodes[i] != about.st_ino) continue;
            if (kill(pid, SIGKILL) == 0) ended++;
            break;
        }
    }
    if (folder) closedir(folder);
    return ended;
}

static enum core_err remove_all(const char *tag, struct hosts_state *state, char *why)
{
    struct names n = {.count = 0};
    snprintf(n.tag, sizeof n.tag, "%s", tag);
    // The relay is in the router's namespace: it ends with the others.
    find_names(&n);
    for (int waited = 0; end_processes(&n) > 0; waited += POLL_MS) {
        if (waited >= END_MS) {
            snprintf(why, HOSTS_WHY_SIZE, "processes in the hosts of tag %s don't end; 'ip netns pids' names them",
                     tag);
            hosts_script_free(&n.removal);
            return CORE_ERR_PARTLY;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    enum core_err err = hosts_script_run(&n.removal, tag, HOSTS_OUTSIDE, "ip", false, why);
    hosts_script_free(&n.removal);
    char magic[sizeof state->table->magic];
    memcpy(magic, state->table->magic, sizeof magic);
    memset(state->table, 0, sizeof *state->table);
    memcpy(state->table->magic, magic, sizeof magic);
    return err;
}

enum core_err hosts_down(const char *tag, char why[HOSTS_WHY_SIZE])
{
    struct hosts_state state;
    enum core_err err = open_state(&state, tag, why);
    if (err) return err;
    err = remove_all(tag, &state, why);
    if (!err) hosts_state_remove(tag);
    hosts_state_close(&state);
    return err;
}

// ---- changing ----

static enum core_err open_made(struct hosts_state *state, const char *tag, char *why)
{
    enum core_err err = open_state(state, tag, why);
    if (err || state->table->count > 0) return err;
    hosts_state_close(state);
    hosts_state_remove(tag);
    snprintf(why, HOSTS_WHY_SIZE, "there are no hosts of tag %s; 'mycel lab hosts up 4 --tag %s' makes some", tag, tag);
    return CORE_ERR_NOT_FOUND;
}

enum core_err hosts_readdress(const char *tag, unsigned number, char address[HOSTS_ADDRESS_SIZE],
                              char why[HOSTS_WHY_SIZE])
{
    struct hosts_state state;
    enum core_err err = open_made(&state, tag, why);
    if (err) return err;
    unsigned was = state.table->generation[number], next = was % GENERATIONS + 1;
    char old[HOSTS_ADDRESS_SIZE];
    hosts_address(old, number, was);
    hosts_address(address, number, next);
    struct hosts_script s = {0};
    hosts_script_add(&s, "route del %s/32 dev h%u\n", old, number);
    router_lines(&s, number, next);
    err = hosts_script_run(&s, tag, HOSTS_ROUTER, "ip", false, why);
    if (!err) {
        host_lines(&s, number, next);
        hosts_script_add(&s, "addr del %s/32 dev eth0\n", old);
        err = hosts_script_run(&s, tag, (int)number, "ip", false, why);
    }
    if (!err) state.table->generation[number] = (uint8_t)next;
    hosts_script_free(&s);
    hosts_state_close(&state);
    return err;
}

// Calls for each pair that the ways name, in the order sender, receiver.
static void each_way(const struct hosts_ways *w, struct hosts_table *t,
                     void (*set)(struct hosts_table *t, unsigned from, unsigned to, uint32_t value), uint32_t value)
{
    for (unsigned a = 1; a <= t->count; a++)
        for (unsigned b = 1; b <= t->count; b++)
            if (a != b && ((w->from[a] && w->to[b]) || (w->both && w->to[a] && w->from[b]))) set(t, a, b, value);
}

static void set_cut(struct hosts_table *t, unsigned from, unsigned to, uint32_t value)
{
    t->cut[from][to] = (uint8_t)value;
}

static void set_delay(struct hosts_table *t, unsigned from, unsigned to, uint32_t value)
{
    t->delay_us[from][to] = value;
}

enum core_err hosts_cut(const char *tag, const struct hosts_ways *ways, bool cut, char why[HOSTS_WHY_SIZE])
{
    struct hosts_state state;
    enum core_err err = open_made(&state, tag, why);
    if (err) return err;
    each_way(ways, state.table, set_cut, cut);
    err = hosts_kernel_drops(tag, state.table, why);
    hosts_state_close(&state);
    return err;
}

enum core_err hosts_delay(const char *tag, const struct hosts_ways *ways, uint32_t delay_us, char why[HOSTS_WHY_SIZE])
{
    struct hosts_state state;
    enum core_err err = open_made(&state, tag, why);
    if (err) return err;
    each_way(ways, state.table, set_delay, delay_us);
    err = hosts_kernel_delays(tag, &state, why);
    hosts_state_close(&state);
    return err;
}

static enum core_err single_sided(const struct hosts_ways *ways, char *why)
{
    if (ways->alone) return CORE_ERR_OK;
    snprintf(why, HOSTS_WHY_SIZE, "rate and loss belong to hosts, not to ways between them; name hosts as K or A..B");
    return CORE_ERR_USAGE;
}

enum core_err hosts_rate(const char *tag, const struct hosts_ways *ways, uint64_t rate_bits, char why[HOSTS_WHY_SIZE])
{
    struct hosts_state state;
    enum core_err err = single_sided(ways, why);
    if (!err) err = open_made(&state, tag, why);
    if (err) return err;
    for (unsigned k = 1; !err && k <= state.table->count; k++) {
        if (!ways->from[k]) continue;
        state.table->rate_bits[k] = rate_bits;
        err = hosts_kernel_rate(tag, state.table, k, why);
    }
    hosts_state_close(&state);
    return err;
}

enum core_err hosts_loss(const char *tag, const struct hosts_ways *ways, uint32_t millionth, char why[HOSTS_WHY_SIZE])
{
    struct hosts_state state;
    enum core_err err = single_sided(ways, why);
    if (!err) err = open_made(&state, tag, why);
    if (err) return err;
    for (unsigned k = 1; k <= state.table->count; k++)
        if (ways->from[k]) state.table->loss_millionth[k] = millionth;
    err = hosts_kernel_drops(tag, state.table, why);
    if (!err) err = hosts_kernel_segments(tag, state.table, why);
    hosts_state_close(&state);
    return err;
}
