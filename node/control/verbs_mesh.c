// invite, leave, down: who may come, and going away.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "node/control/verbs.h"

static void invite_create(struct node *n, struct session *s)
{
    if (!(n->own.roles & (ROLE_FOUNDER | ROLE_SPONSOR))) {
        session_fail(s, CORE_ERR_REFUSED, "ask a founder of the mesh, or a member with the role sponsor",
                     "this peer may not invite: its role is member");
        return;
    }
    if (n->addresses.count == 0) {
        session_fail(s, CORE_ERR_UNREACHABLE, "run `mycel up --advertise HOST:PORT`",
                     "this peer knows no address that others could dial");
        return;
    }
    double ttl = session_number(s, "ttl_s", INVITATION_TTL_S), uses = session_number(s, "uses", 1);
    const char *role = session_text(s, "role");
    bool sponsor = role && strcmp(role, "sponsor") == 0;
    if (role && !sponsor && strcmp(role, "member")) {
        session_fail(s, CORE_ERR_USAGE, "member or sponsor", "there is no role '%s'", role);
        return;
    }
    if (ttl < 1 || ttl > 366.0 * 86400 || uses < 1 || uses > INVITATION_USES_MAX) {
        session_fail(s, CORE_ERR_USAGE, "a time to live of 1 s to 366 days, and 1 to 16 uses",
                     "an invitation cannot be so");
        return;
    }
    struct invitation token = {.mesh = n->charter.id,
                               .sponsor = n->key.id,
                               .addresses = n->addresses,
                               .expires_s = node_wall_s() + (uint64_t)ttl,
                               .uses = (uint32_t)uses};
    random_bytes(token.secret, sizeof token.secret);
    enum core_err err = invitations_add(&n->invitations, token.secret, node_wall_s(), (uint64_t)ttl, token.uses,
                                        ROLE_MEMBER | (sponsor ? (uint32_t)ROLE_SPONSOR : 0u));
    if (!err) err = node_invitations_save(n);
    if (err) {
        session_fail(s, err, "revoke some with `mycel invite revoke ID`, or free space",
                     "the invitation cannot be kept: %s", core_error_text(err));
        return;
    }
    links_admit_open(n->links, true);
    char text[INVITATION_TEXT_MAX], line[INVITATION_TEXT_MAX + 32];
    invitation_encode(&token, text);
    snprintf(line, sizeof line, "mycel join %s --detach", text);
    struct core_hash id = invitation_id(token.secret);
    json_t *addresses = json_array();
    for (uint32_t i = 0; i < token.addresses.count; i++) {
        char at[ADDRESS_TEXT_MAX];
        address_format(&token.addresses.items[i], at);
        json_array_append_new(addresses, json_string(at));
    }
    session_end(s, 0,
                json_pack("{s:s, s:o, s:o, s:i, s:o, s:s}", "token", text, "id", json_hash(&id), "expires",
                          json_time(token.expires_s), "uses", (int)token.uses, "addresses", addresses, "join", line));
}

static void invite_list(struct node *n, struct session *s)
{
    json_t *list = json_array();
    uint64_t now_s = node_wall_s();
    for (uint32_t i = 0; i < n->invitations.count; i++) {
        const struct invitation_entry *e = &n->invitations.entries[i];
        const char *state = e->revoked              ? "revoked"
                            : e->expires_s <= now_s ? "expired"
                            : e->used >= e->uses    ? "used up"
                                                    : "open";
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:i, s:i, s:s}", "id", json_hash(&e->id), "state", state,
                                              "expires", json_time(e->expires_s), "uses", (int)e->uses, "uses_left",
                                              (int)(e->uses - e->used), "role",
                                              e->roles & ROLE_SPONSOR ? "sponsor" : "member"));
    }
    session_end(s, 0, json_pack("{s:o}", "invitations", list));
}

static void invite_revoke(struct node *n, struct session *s)
{
    const char *text = session_text(s, "id");
    size_t size = text ? strlen(text) : 0;
    struct invitation_entry *found = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; size && i < n->invitations.count; i++) {
        char hex[2 * CORE_HASH_SIZE + 1];
        hex_encode(hex, n->invitations.entries[i].id.bytes, CORE_HASH_SIZE);
        if (strncasecmp(hex, text, size)) continue;
        found = &n->invitations.entries[i];
        count++;
    }
    if (count != 1) {
        session_fail(s, CORE_ERR_NOT_FOUND, "`mycel invite ls` lists them", "%s invitation begins with '%s'",
                     count ? "more than one" : "no", text ? text : "");
        return;
    }
    found->revoked = true;
    enum core_err err = node_invitations_save(n);
    if (err)
        session_fail(s, err, "free some space", "it cannot be written down: %s", core_error_text(err));
    else
        session_end(s, 0, json_pack("{s:o}", "id", json_hash(&found->id)));
}

void verb_invite(struct node *n, struct session *s)
{
    const char *action = session_text(s, "action");
    if (!action || strcmp(action, "create") == 0)
        invite_create(n, s);
    else if (strcmp(action, "ls") == 0)
        invite_list(n, s);
    else if (strcmp(action, "revoke") == 0)
        invite_revoke(n, s);
    else
        session_fail(s, CORE_ERR_USAGE, "create, ls or revoke", "invite cannot '%s'", action);
}

// While leaving: names what is waited for.
static void leave_tick(struct session *s, uint64_t now_ms)
{
    if (now_ms < s->told_ms + 5000) return;
    session_wait(s, "", "the next manifest of a run has yet to be decided without this peer", "wait; at most 15 s");
}

void verb_leave(struct node *n, struct session *s)
{
    if (n->state != NODE_UP) {
        session_fail(s, CORE_ERR_REFUSED, "wait", "this peer is leaving already");
        return;
    }
    n->state = NODE_LEAVING;
    n->leave_since_ms = n->now_ms;
    n->leave_session = s->serial;
    s->hooks = (struct session_hooks){.tick = leave_tick};
    peer_leave(n->peer, n->now_ms, &n->out);
    node_perform(n);
}

void verb_down(struct node *n, struct session *s)
{
    session_end(s, 0, json_pack("{s:b}", "stopped", 1));
    n->state = NODE_STOPPING;
    event_emit(&n->events, "node.stopping", EV_TEXT("home", n->home.path));
}
