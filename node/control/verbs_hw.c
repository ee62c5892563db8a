// hw: the machine as the daemon sees it, and what is placed where; with `measure` its lanes are timed, and lost ones
// tried again, before the answer.
#include <stdlib.h>

#include "node/compute/hw.h"
#include "node/control/verbs.h"

struct hw_state {
    struct node *node;
};

static void answer(struct node *n, struct session *s)
{
    session_end(s, 0,
                json_pack("{s:o, s:o, s:o}", "machine", hw_machine_json(n->topology), "devices", hw_devices_json(n),
                          "peer", hw_peer_json(n)));
}

static void hw_tick(struct session *s, uint64_t now_ms)
{
    struct hw_state *state = s->state;
    struct node *n = state->node;
    const struct lane *late = NULL;
    for (uint32_t i = 0; i < n->lanes.count && !late; i++)
        if (n->lanes.lane[i].trying) late = &n->lanes.lane[i];
    if (!late)
        answer(n, s);
    else if (now_ms >= s->told_ms + 5000)
        session_wait(s, late->name, "it has other work to end before it can be measured", "wait, or pause the run");
}

static void hw_closed(struct session *s)
{
    free(s->state);
}

void verb_hw(struct node *n, struct session *s)
{
    struct hw_state *state = session_flag(s, "measure") ? calloc(1, sizeof *state) : NULL;
    if (!state) {
        answer(n, s);
        return;
    }
    for (uint32_t i = 0; i < n->lanes.count; i++) lane_try(n, &n->lanes.lane[i]);
    state->node = n;
    s->state = state;
    s->hooks = (struct session_hooks){.tick = hw_tick, .closed = hw_closed};
}
