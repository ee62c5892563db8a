#include "tools/lab/lab.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/lab/lab_place.h"

enum { STOP_MS = 10000, KILL_AFTER_MS = 3000, POLL_MS = 50 };

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// "listen = 127.0.0.1:6173" in the peer's settings: where one that is down will come back.
static unsigned settled_port(const char *home)
{
    char path[HOME_PATH_SIZE + 16], line[512];
    snprintf(path, sizeof path, "%s/settings", home);
    FILE *file = fopen(path, "re");
    unsigned port = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "listen", 6) != 0) continue;
        line[strcspn(line, "\r\n")] = '\0';
        const char *colon = strrchr(line, ':');
        uint64_t value;
        if (colon && args_read_number(colon + 1, &value) && value < 65536) port = (unsigned)value;
    }
    if (file) fclose(file);
    return port;
}

void lab_look(struct lab_peer *peer, const char *home, unsigned number, int patience_ms)
{
    *peer = (struct lab_peer){.number = number, .state = "absent"};
    char key[HOME_PATH_SIZE + 64];
    snprintf(peer->home, sizeof peer->home, "%.*s/lab/%u", HOME_PATH_SIZE - 32, home, number);
    snprintf(key, sizeof key, "%s/key", peer->home);
    if (access(key, F_OK) != 0) return;
    peer->state = "down";
    peer->port = settled_port(peer->home);
    peer->pid = home_holder(peer->home);
    if (peer->pid == 0) return;
    peer->state = "silent";
    json_t *answer = client_ask_quietly(peer->home, "status", NULL, patience_ms);
    if (!answer) return;
    peer->state = "up";
    snprintf(peer->id, sizeof peer->id, "%s", field_text(answer, "id", ""));
    peer->port = (unsigned)field_number(answer, "port", peer->port);
    peer->http = (unsigned)field_number(answer, "http", 0);
    json_decref(answer);
}

unsigned lab_count(const char *home)
{
    char key[HOME_PATH_SIZE + 64];
    unsigned count = 0;
    while (count < LAB_PEERS_MAX) {
        snprintf(key, sizeof key, "%s/lab/%u/key", home, count + 1);
        if (access(key, F_OK) != 0) break;
        count++;
    }
    return count;
}

unsigned lab_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return 0;
    bool found = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    close(fd);
    return found ? ntohs(address.sin_port) : 0;
}

static const char *state_seen(const json_t *list, const char *id)
{
    size_t i;
    json_t *row;
    json_array_foreach(list, i, row) if (strcmp(field_text(row, "id", ""), id) == 0) return field_text(row, "state",
                                                                                                       "?");
    return "unknown";
}

bool lab_all_see_all(struct lab_peer *peers, unsigned count, char *why, size_t size)
{
    for (unsigned i = 0; i < count; i++) {
        if (peers[i].sees_all) continue;
        if (strcmp(peers[i].state, "up") != 0) {
            snprintf(why, size, "p%u: is %s; %s/log says more", peers[i].number, peers[i].state, peers[i].home);
            return false;
        }
        json_t *answer = client_ask_quietly(peers[i].home, "peers", NULL, 2000);
        const json_t *list = json_object_get(answer, "peers");
        for (unsigned j = 0; j < count; j++) {
            const char *state = answer ? state_seen(list, peers[j].id) : "unknown";
            if (strcmp(state, "alive") == 0) continue;
            snprintf(why, size, "p%u: to p%u it is %s; %s/log says more", peers[j].number, peers[i].number, state,
                     peers[j].home);
            json_decref(answer);
            return false;
        }
        json_decref(answer);
        peers[i].sees_all = true;
    }
    return true;
}

void lab_print(const struct output *out, const struct lab_place *place, const struct lab_peer *peers, unsigned count)
{
    if (out->json) {
        json_t *list = json_array();
        for (unsigned i = 0; i < count; i++)
            json_array_append_new(list,
                                  json_pack("{s:i,s:s,s:i,s:i,s:i,s:i,s:s,s:s*}", "peer", (int)peers[i].number, "home",
                                            peers[i].home, "pid", peers[i].pid, "port", (int)peers[i].port, "http",
                                            (int)peers[i].http, "host", (int)lab_place_host(place, peers[i].number),
                                            "state", peers[i].state, "id", peers[i].id[0] ? peers[i].id : NULL));
        output_json(json_pack("{s:o}", "lab", list));
        return;
    }
    static const struct table_column columns[] = {{"PEER", true, 0}, {"STATE", false, 0}, {"ID", false, 0},
                                                  {"PID", true, 0},  {"HOST", true, 0},   {"PORT", true, 0},
                                                  {"HOME", false, 0}};
    struct table table;
    unsigned up_count = 0;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    for (unsigned i = 0; i < count; i++) {
        bool up = strcmp(peers[i].state, "up") == 0;
        unsigned host = lab_place_host(place, peers[i].number);
        up_count += up;
        table_add(&table, TINT_BOLD, "%u", peers[i].number);
        table_add(&table, up ? TINT_GOOD : TINT_BAD, "%s", peers[i].state);
        table_add(&table, TINT_NONE, "%.8s", peers[i].id[0] ? peers[i].id : "-");
        table_add(&table, TINT_NONE, "%d", peers[i].pid);
        if (host)
            table_add(&table, TINT_NONE, "%u", host);
        else
            table_add(&table, TINT_NONE, "-");
        table_add(&table, TINT_NONE, "%u", peers[i].port);
        table_add(&table, TINT_NONE, "%s", peers[i].home);
    }
    table_print(&table, out);
    if (count > 8) output_note(out, "%u of %u up", up_count, count);
}

bool lab_stop(const struct output *out, const struct lab_peer *peers, unsigned count)
{
    struct control_client asked[LAB_PEERS_MAX];
    for (unsigned i = 0; i < count; i++) {
        asked[i] = (struct control_client){.fd = -1};
        if (strcmp(peers[i].state, "up") == 0 && control_connect(&asked[i], peers[i].home) == CORE_ERR_OK &&
            control_request(&asked[i], "{\"verb\":\"down\"}") != CORE_ERR_OK)
            output_note(out, "lab peer %u doesn't take the request; it will be ended", i + 1);
    }
    int64_t begin = now_ms();
    unsigned left = count;
    bool ended[LAB_PEERS_MAX] = {false};
    while (left > 0 && now_ms() - begin < STOP_MS + 2 * KILL_AFTER_MS) {
        left = 0;
        int64_t waited = now_ms() - begin;
        for (unsigned i = 0; i < count; i++) {
            int pid = home_holder(peers[i].home);
            if (pid == 0) continue;
            left++;
            int64_t patience = asked[i].fd >= 0 ? STOP_MS : 0;
            if (waited >= patience && !ended[i]) {
                kill(pid, SIGTERM);
                kill(pid, SIGCONT);  // a stopped process gets the other signal only then
                ended[i] = true;
            }
            if (waited > patience + KILL_AFTER_MS) kill(pid, SIGKILL);
        }
        if (left > 0) nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    for (unsigned i = 0; i < count; i++)
        if (asked[i].fd >= 0) control_close(&asked[i]);
    return left == 0;
}
