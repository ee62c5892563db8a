// A large map is drawn by the I/O worker: the call returns without it, and the loop is handed a text that is whole.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "atlas/json.h"
#include "node/daemon.h"
#include "node/map_draw.h"
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

static void a_worker_draws(void **state)
{
    (void)state;
    struct node *n = calloc(1, sizeof *n);
    assert_int_equal(inbox_open(&n->inbox, n), CORE_ERR_OK);
    assert_int_equal(worker_start(&n->io_worker, "io", &n->inbox, NULL, NULL, n), CORE_ERR_OK);
    struct atlas_snapshot s = ring(PEERS);
    map_draw(n, &s, true, 77, drawn);
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
    json_decref(told_json);
    s = ring(5);  // on its way when the daemon ends: told all the same, with or without a picture
    map_draw(n, &s, false, 78, drawn);
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
