// Hosts of the lab: which ways a text names, and packets in the order in which they are due.
#include "tools/lab/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "tools/args.h"
#include "tools/lab/relay_queue.h"

enum { COUNT = 8 };

// The pairs that `text` names, as "1>2 2>1", sender before receiver.
static const char *pairs(const char *text)
{
    static char out[1024];
    struct hosts_ways w;
    char why[HOSTS_WHY_SIZE] = "";
    if (hosts_ways_parse(&w, text, COUNT, why)) return "refused";
    size_t used = 0;
    out[0] = '\0';
    for (unsigned a = 1; a <= COUNT; a++)
        for (unsigned b = 1; b <= COUNT; b++)
            if (a != b && ((w.from[a] && w.to[b]) || (w.both && w.to[a] && w.from[b])))
                used += (size_t)snprintf(out + used, sizeof out - used, "%s%u>%u", used ? " " : "", a, b);
    return out;
}

static void ways_between_hosts(void **state)
{
    (void)state;
    assert_string_equal(pairs("3-5"), "3>5 5>3");
    assert_string_equal(pairs("3->5"), "3>5");
    assert_string_equal(pairs("1..2->7..8"), "1>7 1>8 2>7 2>8");
    assert_string_equal(pairs("8"), "1>8 2>8 3>8 4>8 5>8 6>8 7>8 8>1 8>2 8>3 8>4 8>5 8>6 8>7");
    assert_string_equal(pairs("1..8"), "");  // nobody is left to be cut off from
    assert_int_equal(strlen(pairs(NULL)), COUNT * (COUNT - 1) * 4 - 1);
}

static void ways_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "0",     "9",  "x",  "1..",     "3..2",        "1..9", "1-", "1->",
                                      "1=>2", "1-2-3", "1 ", "-1", "1..2..3", "99999999999", "1->9", "1>2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (strcmp(pairs(bad[i]), "refused") != 0) fail_msg("'%s' is taken for ways between hosts", bad[i]);
}

static void names_and_addresses(void **state)
{
    (void)state;
    char name[HOSTS_NAME_SIZE], address[HOSTS_ADDRESS_SIZE];
    assert_string_equal(hosts_name(name, "a_1", 7), "mycel-a_1-7");
    assert_string_equal(hosts_name(name, "a_1", 0), "mycel-a_1-net");
    assert_string_equal(hosts_address(address, 254, 3), "10.77.3.254");
    assert_true(hosts_tag_valid("Lab_09"));
    assert_false(hosts_tag_valid("a-b") || hosts_tag_valid("") || hosts_tag_valid("../x") || hosts_tag_valid("a b"));
    assert_false(hosts_tag_valid("123456789012345678901"));
}

static void limits_have_units(void **state)
{
    (void)state;
    uint64_t n;
    assert_true(args_read_rate("100mbit", &n) && n == 100000000);
    assert_true(args_read_rate("1.5gbit", &n) && n == 1500000000);
    assert_false(args_read_rate("100", &n) || args_read_rate("0mbit", &n) || args_read_rate("fastbit", &n));
    assert_true(args_read_delay("20ms", &n) && n == 20000);
    assert_true(args_read_delay("0.5ms", &n) && n == 500);
    assert_false(args_read_delay("20", &n) || args_read_delay("-1ms", &n) || args_read_delay("61s", &n));
    assert_true(args_read_percent("0.5%", &n) && n == 5000);
    assert_true(args_read_percent("100", &n) && n == 1000000);
    assert_false(args_read_percent("101%", &n) || args_read_percent("%", &n));
}

static void add(struct relay_queue *q, const char *text, uint64_t due_ns)
{
    uint8_t *place = relay_queue_place(q);
    assert_non_null(place);
    memcpy(place, text, strlen(text) + 1);
    relay_queue_add(q, strlen(text) + 1, due_ns);
}

static void comes_out(struct relay_queue *q, const char *text, uint64_t due_ns)
{
    uint64_t due;
    size_t size;
    const uint8_t *packet = relay_queue_first(q, &due, &size);
    assert_non_null(packet);
    assert_string_equal((const char *)packet, text);
    assert_int_equal(size, strlen(text) + 1);
    assert_int_equal(due, due_ns);
    relay_queue_drop_first(q);
}

static void packets_come_out_when_due(void **state)
{
    (void)state;
    uint64_t due;
    size_t size;
    struct relay_queue *q = relay_queue_new(1 << 20);
    assert_null(relay_queue_first(q, &due, &size));
    add(q, "third", 30);
    add(q, "first", 10);
    add(q, "second", 20);
    add(q, "first's follower", 10);
    comes_out(q, "first", 10);
    comes_out(q, "first's follower", 10);
    add(q, "between", 15);
    comes_out(q, "between", 15);
    comes_out(q, "second", 20);
    comes_out(q, "third", 30);
    assert_null(relay_queue_first(q, &due, &size));
    relay_queue_free(q);
}

// Against a plain twin: a list searched for the least. Sizes make the memory go round many times.
static void queue_keeps_what_a_list_keeps(void **state)
{
    (void)state;
    enum { HELD = 300, STEPS = 20000 };
    static struct {
        uint64_t due, number;
        uint8_t mark;
        size_t size;
    } list[HELD];
    size_t held = 0;
    uint64_t number = 0, random = 1;
    struct relay_queue *q = relay_queue_new(64 << 20);
    for (int step = 0; step < STEPS; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t r = (uint32_t)(random >> 33);
        if (held < HELD && r % 2 == 0) {
            size_t size = 1 + r % (r % 16 == 0 ? 60000 : 1500);
            uint8_t *place = relay_queue_place(q);
            memset(place, (int)(number & 255), size);
            relay_queue_add(q, size, r % 64);
            list[held].due = r % 64;
            list[held].mark = number & 255;
            list[held].size = size;
            list[held++].number = number++;
        } else if (held > 0) {
            size_t best = 0, size;
            uint64_t due;
            for (size_t i = 1; i < held; i++)
                if (list[i].due < list[best].due ||
                    (list[i].due == list[best].due && list[i].number < list[best].number))
                    best = i;
            const uint8_t *packet = relay_queue_first(q, &due, &size);
            assert_non_null(packet);
            assert_int_equal(due, list[best].due);
            assert_int_equal(size, list[best].size);
            assert_true(packet[0] == list[best].mark && packet[size - 1] == list[best].mark);
            relay_queue_drop_first(q);
            list[best] = list[--held];
        }
    }
    relay_queue_free(q);  // with packets in it
}

static void full_queue_takes_no_more(void **state)
{
    (void)state;
    struct relay_queue *q = relay_queue_new(10);
    add(q, "0123456789", 1);
    assert_null(relay_queue_place(q));
    relay_queue_drop_first(q);
    assert_non_null(relay_queue_place(q));
    relay_queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_between_hosts),        cmocka_unit_test(ways_that_are_none),
        cmocka_unit_test(names_and_addresses),       cmocka_unit_test(limits_have_units),
        cmocka_unit_test(packets_come_out_when_due), cmocka_unit_test(queue_keeps_what_a_list_keeps),
        cmocka_unit_test(full_queue_takes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
