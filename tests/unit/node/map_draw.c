// A large map is drawn by the I/O worker: the call returns without it, and the loop is handed a text that is whole.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/json.h"
#include "node/daemon.h"
#include "node/look/map.h"
#include "node/look/map_draw.h"
#include "tsan_start.h"

enum { PEERS = 3000 };

static uint32_t told;
static uint64_t told_nonce;
static json_t *told_json;
static pthread_t told_by;

static void drawn(struct node *n, uint64_t nonce, const char *json)
{
    (void)n;
    told++;
    told_nonce = nonce;
    told_json = json ? json_loads(json, 0, NULL) : NULL;
    told_by = pthread_self();
}

// Neighbours in a ring, in disorder.
static struct atlas_snapshot ring(uint32_t count)
{
    struct atlas_snapshot s = {.mesh = "ring", .peer_count = count, .link_count = count};
    s.peers = calloc(count, sizeof *s.peers);
    s.links = calloc(count, sizeof *s.links);
    for (uint32_t i = 0; i < count; i++) {
        struct atlas_peer *p = &s.peers[i];
        snprintf(p->name, sizeof p->name, "p%u", i);
        p->id.bytes[0] = (uint8_t)i, p->id.bytes[1] = (uint8_t)(i >> 8), p->host = i;
        p->located = true;
        p->at[0] = i * 977 % 5000 * 20.0, p->at[1] = i * 313 % 7000 * 11.0;
        s.links[i] = (struct atlas_link){i, (i + 1) % count, 1000, 0};
    }
    return s;
}

// The n-th tree belongs to the run whose id begins so, and says this, peers by their names.
static void flows_are(size_t n, const char *run, const char *expected)
{
    const json_t *tree = json_array_get(json_object_get(json_object_get(told_json, "layout"), "trees"), n), *flow;
    const json_t *peers = json_object_get(told_json, "peers");
    char text[200] = "";
    size_t i, used = 0;
    assert_memory_equal(json_string_value(json_object_get(tree, "run")), run, strlen(run));
    json_array_foreach(json_object_get(tree, "flows"), i, flow)
    {
        const char *name[2];
        for (size_t k = 0; k < 2; k++) {
            const json_t *peer = json_array_get(peers, (size_t)json_integer_value(json_array_get(flow, k)));
            name[k] = json_string_value(json_object_get(peer, "name"));
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "%s>%s@%d ", name[0], name[1],
                                 (int)json_integer_value(json_array_get(flow, 2)));
    }
    assert_string_equal(text, expected);
}

static void a_worker_draws(void **state)
{
    (void)state;
    struct node *n = calloc(1, sizeof *n);
    assert_int_equal(inbox_open(&n->inbox, n), CORE_ERR_OK);
    assert_int_equal(worker_start(&n->io_worker, "io", &n->inbox, NULL, NULL, n), CORE_ERR_OK);
    struct atlas_snapshot s = ring(PEERS);
    struct map_runs trees = {.run = {{{7}}, {{9}}, {{8}}}, .count = 3};
    s.flows = calloc(4, sizeof *s.flows);
    s.flows[s.flow_count++] = (struct atlas_flow){2999, 3, 1, 2};
    s.flows[s.flow_count++] = (struct atlas_flow){5, 4, 0, 0};
    s.flows[s.flow_count++] = (struct atlas_flow){2999, 3, 1, 2};  // of another shard
    s.flows[s.flow_count++] = (struct atlas_flow){4, 5, 0, 2};
    map_draw(n, &s, &trees, 77, drawn);
    assert_null(s.peers);       // taken over
    assert_int_equal(told, 0);  // not here, and not now
    struct pollfd fd = {.fd = n->inbox.fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 60000), 1);
    inbox_take(&n->inbox);
    assert_int_equal(told, 1);
    assert_int_equal(told_nonce, 77);
    assert_true(pthread_equal(told_by, pthread_self()));
    assert_int_equal(json_array_size(json_object_get(told_json, "peers")), PEERS);
    assert_int_equal(json_array_size(json_object_get(told_json, "links")), PEERS);
    assert_int_equal(json_array_size(json_object_get(json_object_get(told_json, "layout"), "peers")), PEERS);
    assert_int_equal(json_integer_value(json_object_get(told_json, "schema")), ATLAS_JSON_SCHEMA);
    flows_are(0, "070000", "p5>p4@0 ");
    flows_are(1, "090000", "");
    flows_are(2, "080000", "p4>p5@0 p2999>p3@1 ");
    assert_int_equal(json_array_size(json_object_get(told_json, "flows")), 0);
    json_decref(told_json);
    s = ring(5);  // on its way when the daemon ends: told all the same, with or without a picture
    map_draw(n, &s, NULL, 78, drawn);
    worker_stop(&n->io_worker);
    inbox_take(&n->inbox);
    assert_int_equal(told, 2);
    assert_int_equal(told_nonce, 78);
    json_decref(told_json);
    inbox_close(&n->inbox);
    free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_worker_draws)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
