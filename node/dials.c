#include "node/dials.h"

#include <stdio.h>
#include <string.h>

// The note of this address, else the place that gives way.
static struct dial_note *place(struct dials *d, const struct core_id *id, const char *address)
{
    struct dial_note *oldest = &d->notes[0];
    for (int i = 0; i < DIALS_MAX; i++) {
        struct dial_note *note = &d->notes[i];
        if (note->reason && id_equal(&note->id, id) && strcmp(note->address, address) == 0) return note;
        if (oldest->reason && (!note->reason || note->at_ms < oldest->at_ms)) oldest = note;
    }
    return oldest;
}

void dials_event(struct dials *d, const struct link_event *e, uint64_t now_ms)
{
    if (e->kind == LINK_EVENT_UP)
        for (int i = 0; i < DIALS_MAX; i++)
            if (id_equal(&d->notes[i].id, &e->id)) d->notes[i].reason = LINK_NONE;
    const bool told = e->text && *e->text, refused = e->kind == LINK_EVENT_DOWN && told;
    if ((e->kind != LINK_EVENT_ADDRESS_FAILED && !refused) || e->reason == LINK_NONE) return;
    struct dial_note *note = place(d, &e->id, e->address);
    *note = (struct dial_note){.id = e->id, .reason = e->reason, .told = told, .at_ms = now_ms};
    snprintf(note->address, sizeof note->address, "%s", e->address);
}
