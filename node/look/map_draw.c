#include "node/look/map_draw.h"

#include <stdlib.h>

#include "atlas/json.h"
#include "node/daemon.h"
#include "node/look/http_layout.h"
#include "node/look/map.h"

struct map_job {
    struct job job;  // first
    struct atlas_snapshot s;
    bool layout;
    struct map_runs trees;
    uint64_t nonce;
    char *json;
    void (*drawn)(struct node *n, uint64_t nonce, const char *json);
};

// Ten digits for the page: it shows pixels.
static void run(struct job *job, struct worker *worker)
{
    (void)worker;
    struct map_job *j = (struct map_job *)job;
    if (atlas_snapshot_settle(&j->s)) return;
    struct atlas_snapshot told = j->s;
    if (j->layout) told.flow_count = 0;
    json_t *all = json_pack("{s:i}", "schema", ATLAS_JSON_SCHEMA), *fields = atlas_json_make(&told);
    bool failed = !all || !fields || json_object_update(all, fields);
    if (!failed && j->layout) failed = json_object_set_new(all, "layout", http_layout_json(&j->s, &j->trees)) != 0;
    if (!failed) j->json = json_dumps(all, JSON_COMPACT | (j->layout ? JSON_REAL_PRECISION(10) : 0));
    json_decref(fields);
    json_decref(all);
}

static void done(struct job *job, void *context)
{
    struct map_job *j = (struct map_job *)job;
    j->drawn(context, j->nonce, j->json);
    atlas_snapshot_free(&j->s);
    free(j->json);
    free(j);
}

void map_draw(struct node *n, struct atlas_snapshot *s, const struct map_runs *trees, uint64_t nonce,
              void (*drawn)(struct node *n, uint64_t nonce, const char *json))
{
    struct map_job *j = calloc(1, sizeof *j);
    if (!j) {
        drawn(n, nonce, NULL);
        return;
    }
    *j = (struct map_job){.s = *s, .layout = trees != NULL, .nonce = nonce, .drawn = drawn};
    if (trees) j->trees = *trees;
    j->job = (struct job){.name = "map", .priority = JOB_LOW, .run = run, .done = done};
    *s = (struct atlas_snapshot){0};
    worker_submit(&n->io_worker, &j->job);
}
