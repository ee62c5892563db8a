// What a dial finds at an address: a peer's greeting, something else, silence, nobody. And what is kept of dials.
#include "node/doctor/dialback.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "node/dials.h"

// RFC 23's signature.
static const uint8_t greeting[10] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f};

struct speaker {
    int listener;
    const void *says;
    size_t size, first;  // so many bytes apart from the rest
    bool waits;          // for the other side to close
};

static void *speak(void *argument)
{
    struct speaker *s = argument;
    int fd = accept(s->listener, NULL, NULL);
    char end;
    if (fd < 0) return NULL;
    ssize_t sent = send(fd, s->says, s->first, MSG_NOSIGNAL);
    if (s->first < s->size) sent = send(fd, (const char *)s->says + s->first, s->size - s->first, MSG_NOSIGNAL);
    if (s->waits && sent >= 0) (void)!recv(fd, &end, 1, 0);
    close(fd);
    return NULL;
}

static int listen_here(struct address *a)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 4) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *a = (struct address){.host = "127.0.0.1", .port = ntohs(at.sin_port)};
    return fd;
}

static enum dialback_result answer_to(const void *says, size_t size, size_t first, bool waits, int patience_ms)
{
    struct address a;
    struct speaker s = {.listener = listen_here(&a), .says = says, .size = size, .first = first, .waits = waits};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, speak, &s), 0);
    enum dialback_result result = dialback_try_now(&a, patience_ms);
    pthread_join(thread, NULL);
    close(s.listener);
    return result;
}

enum { PATIENT_MS = 30000, IMPATIENT_MS = 200 };

static void what_answers(void **state)
{
    (void)state;
    assert_int_equal(answer_to(greeting, 10, 10, true, PATIENT_MS), DIALBACK_ANSWERS);
    assert_int_equal(answer_to(greeting, 10, 3, true, PATIENT_MS), DIALBACK_ANSWERS);  // in two pieces
    assert_int_equal(answer_to("SSH-2.0-x\r\n", 11, 11, true, PATIENT_MS), DIALBACK_OTHER);
    assert_int_equal(answer_to("", 0, 0, false, PATIENT_MS), DIALBACK_OTHER);  // hangs up
    assert_int_equal(answer_to("", 0, 0, true, IMPATIENT_MS), DIALBACK_SILENT);
    assert_int_equal(answer_to(greeting, 4, 4, true, IMPATIENT_MS), DIALBACK_SILENT);
    uint8_t wrong[10];
    memcpy(wrong, greeting, sizeof wrong);
    wrong[9] = 0;
    assert_int_equal(answer_to(wrong, 10, 10, true, PATIENT_MS), DIALBACK_OTHER);
}

static void nobody(void **state)
{
    (void)state;
    struct address a;
    close(listen_here(&a));
    assert_int_equal(dialback_try_now(&a, PATIENT_MS), DIALBACK_REFUSED);
    snprintf(a.host, sizeof a.host, "a.name.that.needs.looking.up");
    assert_int_equal(dialback_try_now(&a, PATIENT_MS), DIALBACK_NOT_TRIED);
    for (int r = 0; r < DIALBACK_RESULTS; r++)
        assert_string_not_equal(dialback_result_text((enum dialback_result)r), "unknown");
}

static struct link_event failed(uint8_t id, const char *address, enum link_reason reason, const char *text)
{
    struct link_event e = {
        .kind = LINK_EVENT_ADDRESS_FAILED, .id.bytes = {id}, .reason = reason, .text = text, .address = address};
    return e;
}

static uint32_t kept(const struct dials *d)
{
    uint32_t count = 0;
    for (int i = 0; i < DIALS_MAX; i++) count += d->notes[i].reason != LINK_NONE;
    return count;
}

static void dials_are_kept(void **state)
{
    (void)state;
    struct dials d = {0};
    struct link_event e = failed(1, "a:1", LINK_TIMED_OUT, "");
    dials_event(&d, &e, 10);
    e = failed(1, "a:1", LINK_REVOKED, "its certificate was revoked");
    dials_event(&d, &e, 20);
    assert_int_equal(kept(&d), 1);  // of one address the last
    assert_true(d.notes[0].reason == LINK_REVOKED && d.notes[0].told && d.notes[0].at_ms == 20);
    e = failed(1, "b:1", LINK_HANDSHAKE, "");
    dials_event(&d, &e, 30);
    e = failed(2, "a:1", LINK_HANDSHAKE, "");
    dials_event(&d, &e, 40);
    assert_int_equal(kept(&d), 3);
    e.kind = LINK_EVENT_UP;
    e.id.bytes[0] = 1;
    dials_event(&d, &e, 50);
    assert_int_equal(kept(&d), 1);
    // Who dialled us and then refused us has said so; a link that ends without a word is no trouble.
    e.kind = LINK_EVENT_DOWN;
    e.reason = LINK_EXPIRED;
    dials_event(&d, &e, 55);
    assert_int_equal(kept(&d), 1);
    e.text = "its certificate expired";
    dials_event(&d, &e, 56);
    assert_int_equal(kept(&d), 2);
    assert_true(d.notes[0].reason == LINK_EXPIRED && d.notes[0].told && d.notes[0].at_ms == 56);
    // Full: the oldest gives way.
    for (int i = 0; i < DIALS_MAX; i++) {
        char address[16];
        snprintf(address, sizeof address, "c:%d", i);
        e = failed(3, address, LINK_HANDSHAKE, "");
        dials_event(&d, &e, 60 + (uint64_t)i);
    }
    assert_int_equal(kept(&d), DIALS_MAX);
    for (int i = 0; i < DIALS_MAX; i++) assert_int_equal(d.notes[i].id.bytes[0], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_answers),
        cmocka_unit_test(nobody),
        cmocka_unit_test(dials_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
