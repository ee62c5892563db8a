#include "node/members_file.h"

#include <stdlib.h>

#include "node/daemon.h"

// A file of n members is written at most every SAVE_MS + n * SAVE_EACH_MS: churn in a large mesh must not keep the disk
// busy.
enum { SAVE_MS = 3000, SAVE_EACH_MS = 10, FILE_MAX = 64 << 20 };

struct save_job {
    struct job job;
    const struct home *home;
    size_t size;
    uint8_t bytes[];
};

static void save_run(struct job *job, struct worker *w)
{
    (void)w;
    struct save_job *j = (struct save_job *)job;
    job->err = home_write(j->home, "members", (struct slice){j->bytes, j->size});
}

static void save_done(struct job *job, void *context)
{
    struct node *n = context;
    n->members_saving = false;
    if (job->err && job->err != CORE_ERR_INTERRUPTED) node_disk_failed(n, job->err, "members");
    if (job->err) n->members_changed = true;
    free(job);
}

static void save(struct node *n)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t count = gossip_member_count(g);
    size_t capacity = 0;
    uint8_t entry[GOSSIP_ENTRY_MAX];
    for (uint32_t i = 0; i < count; i++) capacity += 4 + gossip_entry_save(g, i, entry);
    struct save_job *j = malloc(sizeof *j + capacity);
    if (!j) return;
    *j = (struct save_job){.job = {.name = "members", .priority = JOB_LOW, .run = save_run, .done = save_done},
                           .home = &n->home};
    struct writer w = writer_over(j->bytes, capacity);
    for (uint32_t i = 0; i < count; i++) write_slice(&w, (struct slice){entry, gossip_entry_save(g, i, entry)});
    j->size = w.size;
    n->members_changed = false;
    n->members_saving = true;
    n->members_saved_ms = n->now_ms;
    worker_submit(&n->io_worker, &j->job);
}

void members_file_tick(struct node *n)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint64_t incarnation = gossip_incarnation(g);
    if (incarnation != n->saved_incarnation) {
        uint8_t bytes[8];
        struct writer w = writer_over(bytes, sizeof bytes);
        write_u64(&w, incarnation);
        if (home_write(&n->home, "incarnation", (struct slice){bytes, 8}) == CORE_ERR_OK) {
            n->saved_incarnation = incarnation;
            links_set_incarnation(n->links, incarnation);
        }
    }
    uint64_t wait_ms = SAVE_MS + (uint64_t)SAVE_EACH_MS * gossip_member_count(g);
    if (n->members_changed && !n->members_saving && !n->disk_full && n->now_ms >= n->members_saved_ms + wait_ms)
        save(n);
}

void members_file_restore(struct node *n)
{
    uint8_t *bytes;
    size_t size;
    if (home_read(&n->home, "members", FILE_MAX, &bytes, &size)) return;
    struct reader r = reader_over(bytes, size);
    uint32_t refused = 0;
    while (!r.failed && r.at < r.size) {
        struct slice entry = read_slice(&r, GOSSIP_ENTRY_MAX);
        if (!r.failed && peer_restore_member(n->peer, entry, n->now_ms)) refused++;
    }
    if (refused) event_emit(&n->events, "problem.members", EV_U64("refused", refused));
    free(bytes);
}
