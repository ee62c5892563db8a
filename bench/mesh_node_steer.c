#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/mesh_node_parts.h"

enum { PUBLISH_BURST = 64 };  // before the loop looks at its links again

void mesh_node_ready(struct mesh_node *n)
{
    char id[CORE_ID_HEX], address[ADDRESS_TEXT_MAX];
    hex_encode(id, n->key.id.bytes, sizeof n->key.id.bytes);
    address_format(&n->listen, address);
    n->sees[n->index] = true;
    n->seen = 1;
    printf("READY %s@%s\n", id, address);
    fflush(stdout);
}

// ---- who is seen ----

static bool index_of(const struct gossip_member *member, uint32_t *index)
{
    char text[16] = {0};
    if (member->name.size < 2 || member->name.size >= sizeof text) return false;
    memcpy(text, member->name.data, member->name.size);
    char *end;
    *index = (uint32_t)strtoul(text + 1, &end, 10);
    return *text == 'n' && *end == '\0' && *index < MESH_NODES_MAX;
}

void mesh_node_member(struct mesh_node *n, const struct core_id *id)
{
    struct gossip_member member;
    uint32_t index;
    if (!gossip_member_find(n->gossip, id, &member) || !index_of(&member, &index) || index >= n->count) return;
    bool sees = member.self || member.state == GOSSIP_ALIVE || member.state == GOSSIP_SUSPECT;
    uint64_t now_us = mesh_node_wall_us();
    if (n->full && sees && member.state == GOSSIP_SUSPECT) printf("DOUBT %" PRIu64 " %u\n", now_us, index);
    if (sees == n->sees[index]) return;
    n->sees[index] = sees;
    n->seen += sees ? 1 : UINT32_MAX;
    if (n->full) {
        printf("%s %" PRIu64 " %u\n", sees ? "BACK" : "GONE", now_us, index);
    } else if (n->seen == n->count) {
        n->full = true;
        printf("FULL %" PRIu64 "\n", now_us);
    }
}

// ---- broadcasts ----

static uint64_t due_us(const struct mesh_publication *p)
{
    if (p->rate <= 0) return p->start_us;
    return p->start_us + (uint64_t)((double)(p->next - p->first) * 1e6 / p->rate);
}

int mesh_node_publish_wait(const struct mesh_node *n, int most)
{
    const struct mesh_publication *p = &n->publication;
    if (p->next == p->end) return most;
    uint64_t now = mesh_node_clock_us(), due = due_us(p);
    if (due <= now) return 0;
    uint64_t wait = (due - now + 999) / 1000;
    return wait < (uint64_t)most ? (int)wait : most;
}

void mesh_node_publish(struct mesh_node *n)
{
    struct mesh_publication *p = &n->publication;
    for (int burst = 0; p->next < p->end && burst < PUBLISH_BURST; burst++) {
        if (due_us(p) > mesh_node_clock_us()) return;
        cast_payload_make(&n->key, p->next, mesh_node_wall_us(), n->payload, p->size);
        enum core_err err = gossip_cast(n->gossip, TOPIC_RUN, (struct slice){n->payload, p->size}, n->now_ms, &n->out);
        mesh_node_perform(n);
        if (err) {
            printf("ERR cannot broadcast %u bytes: %s\n", p->size, core_error_name(err));
            p->end = p->next + 1;
        }
        if (++p->next == p->end) printf("DONE %" PRIu64 "\n", mesh_node_wall_us());
    }
}

static void publish(struct mesh_node *n, char *words)
{
    struct mesh_publication p = {.start_us = mesh_node_clock_us()};
    uint64_t count = 0;
    if (sscanf(words, "%" SCNu64 " %" SCNu32 " %" SCNu64 " %lf", &p.first, &p.size, &count, &p.rate) != 4 ||
        p.size < CAST_PAYLOAD_MIN || p.size > 64u << 20) {
        printf("ERR cannot read PUB %s\n", words);
        return;
    }
    uint8_t *payload = realloc(n->payload, p.size);
    if (!payload) return;
    n->payload = payload;
    p.next = p.first;
    p.end = p.first + count;
    n->publication = p;
    mesh_node_publish(n);
}

// ---- commands ----

static void join(struct mesh_node *n, char *words)
{
    char *rest = NULL;
    n->sponsor_count = 0;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *at = strchr(word, '@');
        struct address address;
        struct address_list list = {0};
        struct mesh_sponsor *s = &n->sponsors[n->sponsor_count];
        if (at) *at = '\0';
        if (n->sponsor_count == MESH_SPONSORS_MAX || !at || !hex_decode(s->id.bytes, sizeof s->id.bytes, word) ||
            address_parse(at + 1, &address) || address_list_add(&list, &address)) {
            printf("ERR cannot join through %s\n", word);
            continue;
        }
        s->size = address_list_encode(&list, s->addresses);
        n->sponsor_count++;
    }
    mesh_node_join(n);
}

static void talk(struct mesh_node *n)
{
    struct links_stats stats;
    links_stats(n->links, &stats);
    printf("TALK");
    for (uint32_t i = 0; i < MESH_TYPES; i++)
        if (n->sent[i] || n->received[i])
            printf(" %s=%" PRIu64 "/%" PRIu64, message_info(i)->name, n->sent[i], n->received[i]);
    printf(" dials=%" PRIu64 " dials_failed=%" PRIu64 " links_up=%" PRIu64 " links=%u", n->dials, n->dials_failed,
           n->links_up, stats.up);
    printf(" bytes=%" PRIu64 "/%" PRIu64 "\n", stats.tx_bytes[LANE_CONTROL] + stats.tx_bytes[LANE_BULK],
           stats.rx_bytes[LANE_CONTROL] + stats.rx_bytes[LANE_BULK]);
}

static void command(struct mesh_node *n, char *line)
{
    char *words = strchr(line, ' ');
    if (words) *words++ = '\0';
    if (!strcmp(line, "JOIN") && words)
        join(n, words);
    else if (!strcmp(line, "PUB") && words)
        publish(n, words);
    else if (!strcmp(line, "STAT"))
        casts_seen_report(&n->casts, stdout);
    else if (!strcmp(line, "TALK"))
        talk(n);
    else
        printf("ERR what is %s?\n", line);
    mesh_node_perform(n);
}

void mesh_node_read(struct mesh_node *n)
{
    ssize_t got = read(STDIN_FILENO, n->line + n->line_size, sizeof n->line - 1 - n->line_size);
    if (got <= 0) {
        if (got == 0 || errno != EINTR) n->ended = true;
        return;
    }
    n->line_size += (size_t)got;
    n->line[n->line_size] = '\0';
    char *from = n->line;
    for (char *end; (end = strchr(from, '\n')); from = end + 1) {
        *end = '\0';
        command(n, from);
    }
    n->line_size -= (size_t)(from - n->line);
    memmove(n->line, from, n->line_size + 1);
    if (n->line_size == sizeof n->line - 1) n->ended = true;  // no command is that long
}
