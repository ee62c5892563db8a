// Scenarios as text, in the manner of etcd's raft: tests/traces/gossip_*.txt hold commands and what they print. Run
// with MYCEL_REWRITE=1 (or --rewrite) the files are written anew; commit only a difference that you understand.
//
//   COMMAND ARGS
//   ----
//   what it prints
//   (empty line)
//
//   peers N            N peers, p0 to pN-1; seed 1, 5 ms each way
//   no-dial I          peer I can't be dialled (before join)
//   join               everyone starts; all but p0 dial it
//   run MS             lets time pass; prints the events
//   kill I, pause I, resume I, leave I, cast I NUMBER, start I (dials p0, or p1 if it is p0)
//   split I, heal      peers I and above no longer reach those below; they do again
//   states, neighbors  who believes what
#include "unit/gossip/world.h"

enum { TEXT_MAX = 1 << 18 };

static struct world world;
static char input[TEXT_MAX], output[TEXT_MAX];
static size_t output_size;
static bool rewrite;

__attribute__((format(printf, 1, 2))) static void print(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(output + output_size, sizeof output - output_size, format, args);
    va_end(args);
    check(n >= 0 && (size_t)n < sizeof output - output_size);
    output_size += (size_t)n;
}

static void print_event(void *context, const struct event *event)
{
    (void)context;
    print("%6llu p%u %s", (unsigned long long)(world.now_ms - 1000), world.speaker, event->name);
    for (size_t i = 0; i < event->count; i++) {
        const struct event_field *f = &event->fields[i];
        if (f->kind == EVENT_ID)
            print(" p%u", world_number(&world, f->id));
        else if (f->kind == EVENT_TEXT)
            print(" %s", f->text);
        else if (f->kind == EVENT_U64)
            print(" %s=%llu", f->key, (unsigned long long)f->u64);
    }
    print("\n");
}

static void print_states(void)
{
    for (uint32_t a = 0; a < world.count; a++) {
        if (!world.peers[a].gossip) continue;
        print("p%u:", a);
        for (uint32_t b = 0; b < world.count; b++) {
            struct gossip_member m;
            if (!gossip_member_find(world.peers[a].gossip, &world.peers[b].key.id, &m)) continue;
            print(" p%u=%s/%llu", b, gossip_state_name(m.state), (unsigned long long)m.incarnation);
        }
        print("\n");
    }
}

static void print_neighbors(void)
{
    for (uint32_t a = 0; a < world.count; a++) {
        if (!world.peers[a].gossip) continue;
        struct core_id ids[WORLD_PEERS];
        const uint32_t n = gossip_neighbors(world.peers[a].gossip, ids, WORLD_PEERS);
        bool near[WORLD_PEERS] = {false};
        for (uint32_t i = 0; i < n; i++) near[world_number(&world, &ids[i])] = true;
        print("p%u:", a);
        for (uint32_t b = 0; b < world.count; b++)
            if (near[b]) print(" p%u", b);
        print("\n");
    }
}

static void print_got(uint32_t number)
{
    print("got %u:", number);
    for (uint32_t a = 0; a < world.count; a++)
        if (world.peers[a].got[number]) print(" p%u", a);
    print("\n");
}

static void command(const char *line)
{
    char name[16] = "";
    unsigned a = 0, b = 0;
    const int n = sscanf(line, "%15s %u %u", name, &a, &b);
    check(n >= 1);
    if (strcmp(name, "peers") == 0) {
        if (world.heap) world_close(&world);
        world_open(&world, a, 1);
        world.delay_min_ms = world.delay_max_ms = 5;
        world.log = print_event;
        return;
    }
    check(world.heap && (n < 2 || strcmp(name, "run") == 0 || a < world.count) && b < WORLD_CASTS);
    if (strcmp(name, "no-dial") == 0)
        world.peers[a].dialable = false;
    else if (strcmp(name, "join") == 0)
        world_join_all(&world);
    else if (strcmp(name, "run") == 0)
        world_run(&world, a);
    else if (strcmp(name, "kill") == 0)
        world_kill(&world, a);
    else if (strcmp(name, "pause") == 0)
        world.peers[a].paused = true;
    else if (strcmp(name, "resume") == 0)
        world.peers[a].paused = false;
    else if (strcmp(name, "split") == 0)
        for (uint32_t i = 0; i < world.count; i++) world.peers[i].part = i >= a;
    else if (strcmp(name, "heal") == 0)
        for (uint32_t i = 0; i < world.count; i++) world.peers[i].part = 0;
    else if (strcmp(name, "states") == 0)
        print_states();
    else if (strcmp(name, "neighbors") == 0)
        print_neighbors();
    else if (strcmp(name, "start") == 0) {
        world_start(&world, a, 1);
        world_dial(&world, a, a == 0);
    } else if (strcmp(name, "leave") == 0) {
        gossip_leave(world.peers[a].gossip, world.now_ms, &world.out);
        world_perform(&world, a);
    } else if (strcmp(name, "cast") == 0) {
        world_cast(&world, a, (uint8_t)b);
        world_run(&world, 1000);
        print_got(b);
    } else {
        fail_msg("unknown command: %s", line);
    }
}

static char *next_line(char **at)
{
    if (!**at) return NULL;
    char *line = *at, *end = strchr(line, '\n');
    if (end) *end = 0;
    *at = end ? end + 1 : line + strlen(line);
    return line;
}

// Comments and empty lines stay; a command's old output is left out and its new one written.
static void replay(char *text)
{
    output_size = 0;
    bool empty = false;
    for (char *line; (line = next_line(&text));) {
        if (*line == 0 || *line == '#') {
            if (*line || !empty) print("%s\n", line);
            empty = *line == 0;
            continue;
        }
        print("%s\n----\n", line);
        command(line);
        char *rest = text, *next = next_line(&rest);
        if (next && strcmp(next, "----") == 0) {
            while ((line = next_line(&rest)) && *line) continue;
            text = rest;
        } else if (next) {
            next[strlen(next)] = rest > next + strlen(next) ? '\n' : 0;
        }
        print("\n");
        empty = true;
    }
    if (world.heap) world_close(&world);
    world.heap = NULL;
}

static void trace(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/traces/gossip_%s.txt", name);
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("cannot open %s from here", path);
    const size_t size = fread(input, 1, sizeof input - 1, f);
    fclose(f);
    input[size] = 0;
    static char expected[TEXT_MAX];
    memcpy(expected, input, size + 1);
    replay(input);
    if (rewrite) {
        f = fopen(path, "w");
        check(f && fwrite(output, 1, output_size, f) == output_size && fclose(f) == 0);
        return;
    }
    size_t at = 0, line = 1;
    while (at < output_size && output[at] == expected[at]) line += output[at++] == '\n';
    if (output_size != size || at < size) {
        while (at > 0 && output[at - 1] != '\n') at--;
        fail_msg("%s:%zu differs; now: %.*s", path, line, (int)strcspn(output + at, "\n"), output + at);
    }
}

static void joining(void **state)
{
    (void)state;
    trace("join");
}

static void crash(void **state)
{
    (void)state;
    trace("crash");
}

static void stopped(void **state)
{
    (void)state;
    trace("stopped");
}

static void split(void **state)
{
    (void)state;
    trace("split");
}

static void leaving(void **state)
{
    (void)state;
    trace("leave");
}

int main(int argc, char **argv)
{
    rewrite = getenv("MYCEL_REWRITE") != NULL || (argc > 1 && strcmp(argv[1], "--rewrite") == 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joining), cmocka_unit_test(crash),   cmocka_unit_test(stopped),
        cmocka_unit_test(split),   cmocka_unit_test(leaving),
    };
    if (sign_start() != CORE_ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
