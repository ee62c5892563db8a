// What a home's files and its daemon say.
#include "node/doctor/checks.h"

#include <string.h>

#include "node/doctor/checks_text.h"

enum { EXPIRES_SOON_S = 7 * 86400, CLOCK_SLACK_S = 60 };

static void damaged(struct checks *c, const char *home, const char *file, enum core_err err)
{
    if (err) checks_add(c, TROUBLE_HOME_DAMAGED, NULL, "file", file, "home", home, "why", core_error_text(err), NULL);
}

static const char *mode_text(char out[8], uint32_t mode)
{
    snprintf(out, 8, "%04o", mode & 07777);
    return out;
}

// Its own clock against what others have written down with theirs: only "behind" shows so.
static void clock_of_files(struct checks *c, const struct checks_home_facts *f)
{
    char text[CHECKS_SHORT];
    uint64_t issued = f->certificate_decoded ? f->issued_s : 0;
    uint64_t latest = issued > f->founded_s ? issued : f->founded_s;
    if (latest > f->now_s + CLOCK_SLACK_S)
        checks_add(c, TROUBLE_CLOCK_BEHIND, NULL, "offset", checks_span(text, latest - f->now_s), "what",
                   latest == issued ? "its certificate" : "the mesh's charter", NULL);
}

static void certificate(struct checks *c, const struct checks_home_facts *f)
{
    char text[CHECKS_SHORT];
    const char *why = core_error_text(f->certificate);
    if (f->revoked) {
        checks_add(c, TROUBLE_CERTIFICATE_REVOKED, NULL, "who", "its own list", NULL);
    } else if (f->certificate == CORE_ERR_EXPIRED) {
        checks_add(c, TROUBLE_CERTIFICATE_EXPIRED, NULL, "ago", checks_span(text, f->now_s - f->expires_s), NULL);
    } else if (f->certificate && !f->certificate_decoded) {
        damaged(c, f->home, "certificate", f->certificate);
    } else if (f->certificate) {
        if (f->certificate == CORE_ERR_WRONG_MESH) why = "it is for another mesh than the charter";
        checks_add(c, TROUBLE_CERTIFICATE_OTHER, NULL, "why", why, "home", f->home, NULL);
    } else if (f->other_key) {
        checks_add(c, TROUBLE_CERTIFICATE_OTHER, NULL, "why", "it is for another key", "home", f->home, NULL);
    } else if (f->expires_s && f->expires_s < f->now_s + EXPIRES_SOON_S) {
        checks_add(c, TROUBLE_CERTIFICATE_EXPIRING, NULL, "in", checks_span(text, f->expires_s - f->now_s), NULL);
    } else if (f->expires_s) {
        checks_pass(c, CHECK_CERTIFICATE, "good for %s more", checks_span(text, f->expires_s - f->now_s));
    } else {
        checks_pass(c, CHECK_CERTIFICATE, "good, without an end");
    }
}

void checks_home(struct checks *c, const struct checks_home_facts *f)
{
    char mode[8];
    if (f->closed) {
        checks_add(c, TROUBLE_HOME_CLOSED, NULL, "home", f->home, "why", f->closed, NULL);
        if (!f->there) return;
    } else if (!f->there) {
        checks_add(c, TROUBLE_HOME_NONE, NULL, "home", f->home, NULL);
        return;
    }
    if (f->mode & 022) checks_add(c, TROUBLE_HOME_OPEN, NULL, "home", f->home, "mode", mode_text(mode, f->mode), NULL);
    damaged(c, f->home, "charter", f->charter);
    damaged(c, f->home, "settings", f->settings);
    if (!checks_has(c, CHECK_HOME)) checks_pass(c, CHECK_HOME, "%s", f->home);
    if (f->key == CORE_ERR_REFUSED)
        checks_add(c, TROUBLE_KEY_OPEN, NULL, "home", f->home, "mode", mode_text(mode, f->key_mode), NULL);
    else if (f->key)
        damaged(c, f->home, "key", f->key);
    else
        checks_pass(c, CHECK_KEY, "readable by its owner alone");
    if (!f->charter) certificate(c, f);
    clock_of_files(c, f);
}

void checks_daemon(struct checks *c, const struct checks_daemon_facts *f)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", f->pid);
    if (f->pid == 0) {
        checks_add(c, TROUBLE_DAEMON_NONE, NULL, "home", f->home, NULL);
    } else if (f->answers) {
        checks_pass(c, CHECK_DAEMON, "process %d answers", f->pid);
    } else if (f->process_state == 'T' || f->process_state == 't') {
        checks_add(c, TROUBLE_DAEMON_STOPPED, NULL, "pid", pid, NULL);
    } else if (!f->found) {
        checks_add(c, TROUBLE_DAEMON_APART, NULL, "pid", pid, "path", f->socket, NULL);
    } else {
        const char *doing = f->process_state == 'D'   ? "it waits for a disk"
                            : f->process_state == 'R' ? "it is busy"
                                                      : "it waits for something";
        checks_add(c, TROUBLE_DAEMON_SILENT, NULL, "pid", pid, "doing", doing, "home", f->home, NULL);
    }
}
