#include "tools/lab/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include "tools/lab/relay_queue.h"

enum {
    BATCH = 64,             // packets read before those due are written
    BYTES_MAX = 512 << 20,  // held at most; what comes on top is lost, as in a full router
    LOOK_NS = 1000000000,   // how often it looks whether it is still wanted
    HEADER = sizeof(struct virtio_net_hdr),
    SOURCE = HEADER + 15,  // last byte of the sender's IPv4 address: the host's number
    DESTINATION = HEADER + 19,
    IPV4_MIN = 20,
    READY = 3  // the child's end of the pipe
};

struct relay {
    int tun;
    const struct hosts_table *table;
    struct relay_queue *queue;
    char router[64];  // its namespace's name as a path
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void take_in(struct relay *r)
{
    for (int i = 0; i < BATCH; i++) {
        uint8_t *place = relay_queue_place(r->queue);
        uint8_t lost[RELAY_PACKET_MAX];
        ssize_t size = read(r->tun, place ? place : lost, RELAY_PACKET_MAX);
        if (size < 0) return;
        if (!place || size < HEADER + IPV4_MIN || place[HEADER] >> 4 != 4) continue;
        uint8_t from = place[SOURCE], to = place[DESTINATION];
        uint64_t delay_us = from <= HOSTS_MAX && to <= HOSTS_MAX ? r->table->delay_us[from][to] : 0;
        relay_queue_add(r->queue, (size_t)size, now_ns() + delay_us * 1000);
    }
}

// Writes what is due; returns when the next one will be, at most `latest`.
static uint64_t let_out(struct relay *r, uint64_t latest)
{
    uint64_t due, now = now_ns();
    size_t size;
    const uint8_t *packet;
    while ((packet = relay_queue_first(r->queue, &due, &size)) != NULL) {
        if (due > now) now = now_ns();
        if (due > now) return due < latest ? due : latest;
        // One that the kernel doesn't take is lost, as packets are.
        if (write(r->tun, packet, size) < 0 && errno == EINTR) continue;
        relay_queue_drop_first(r->queue);
    }
    return latest;
}

__attribute__((noreturn)) static void serve(struct relay *r)
{
    uint64_t look = 0;
    struct pollfd readable = {.fd = r->tun, .events = POLLIN};
    for (;;) {
        uint64_t next = let_out(r, look), now = now_ns();
        if (now >= look) {
            if (access(r->router, F_OK) != 0) _exit(0);
            look = now + LOOK_NS;
            continue;
        }
        struct timespec wait = {.tv_sec = 0, .tv_nsec = next > now ? (long)(next - now) : 0};
        if (wait.tv_nsec >= LOOK_NS) wait.tv_nsec = LOOK_NS - 1;
        if (ppoll(&readable, 1, &wait, NULL) > 0) take_in(r);
    }
}

static int open_tun(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    snprintf(request.ifr_name, sizeof request.ifr_name, RELAY_DEVICE);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) return -1;
    // Without them the kernel cuts into single packets: slower, but right.
    (void)ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
    return fd;
}

static int lock_file(const char *tag, int flags)
{
    char path[64];
    return open(hosts_state_path(path, tag, ".relay"), flags | O_CLOEXEC | O_NOFOLLOW, 0644);
}

// The child: says on `ready` "" or what failed, then serves.
__attribute__((noreturn)) static void child(const char *tag, struct hosts_state *inherited, int ready)
{
    // The lock on the state belongs to its file as opened by the caller, and a mapping keeps that open, too.
    munmap(inherited->table, sizeof *inherited->table);
    if (ready != READY) ready = dup3(ready, READY, O_CLOEXEC);
    close_range(READY + 1, ~0u, 0);

    struct relay r = {.tun = -1};
    struct hosts_state state;
    char name[HOSTS_NAME_SIZE];
    const char *failed = NULL;
    snprintf(r.router, sizeof r.router, "/run/netns/%s", hosts_name(name, tag, 0));
    setsid();
    prctl(PR_SET_NAME, "mycel-relay");
    prctl(PR_SET_TIMERSLACK, 1000);
    (void)setpriority(PRIO_PROCESS, 0, -20);  // a wire does not wait for the processor, as far as that can be had
    signal(SIGINT, SIG_IGN);
    int network = hosts_open(tag, 0), lock = lock_file(tag, O_RDWR | O_CREAT);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0)
        failed = "another relay runs";
    else if (network < 0 || setns(network, CLONE_NEWNET) != 0)
        failed = "cannot enter the router's namespace";
    else if ((r.tun = open_tun()) < 0)
        failed = "cannot make a TUN device in it";
    else if (hosts_state_peek(&state, tag))
        failed = "cannot read the hosts' state";
    char text[256] = "";
    if (failed) snprintf(text, sizeof text, "%s: %s", failed, strerror(errno));
    ssize_t told = write(ready, text, strlen(text) + 1);
    if (failed || told < 0) _exit(1);
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++) (void)dup2(nowhere, fd);
    close(ready);
    if (chdir("/") != 0) _exit(1);
    r.table = state.table;
    r.queue = relay_queue_new(BYTES_MAX);
    serve(&r);
}

enum core_err relay_start(const char *tag, struct hosts_state *state, char why[HOSTS_WHY_SIZE])
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return core_error_from_errno(errno);
    pid_t made = fork();
    if (made == 0) child(tag, state, ends[1]);
    close(ends[1]);
    char said[256] = "its process ended";
    ssize_t size = made > 0 ? read(ends[0], said, sizeof said - 1) : -1;
    close(ends[0]);
    if (size > 0) said[size] = '\0';
    if (size == 1 && said[0] == '\0') return CORE_ERR_OK;
    snprintf(why, HOSTS_WHY_SIZE,
             "the relay that makes delays can't start: %s; is there /dev/net/tun, and does the kernel have TUN?", said);
    return CORE_ERR_FAILED;
}

bool relay_runs(const char *tag)
{
    int fd = lock_file(tag, O_RDWR);
    if (fd < 0) return false;
    bool held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}
