#include "node/events_log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

// Events that are told unless the peer runs quietly; a trailing dot stands for everything below.
static const char *const told[] = {
    "node.",          "problem.",       "admission.",  "link.refused", "gossip.member",
    "gossip.accused", "gossip.refuted", "gossip.left", "run.",         "round.closed",
    "round.diverged", "round.lost",     "round.unfit", "disk.",        "consensus.equivocation",
    "device.",
};
static const char *const told_quietly[] = {"node.failed", "problem.",   "round.diverged", "consensus.equivocation",
                                           "disk.",       "device.lost"};

static bool listed(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(list[i]);
        bool below = list[i][size - 1] == '.';
        if (below ? strncmp(name, list[i], size) == 0 : strcmp(name, list[i]) == 0) return true;
    }
    return false;
}

bool events_log_told(const char *name)
{
    return listed(name, told, sizeof told / sizeof *told);
}

static void print(void *context, const struct event *event)
{
    struct events_log *log = context;
    bool wanted = log->quiet     ? listed(event->name, told_quietly, sizeof told_quietly / sizeof *told_quietly)
                  : log->verbose ? true
                                 : events_log_told(event->name);
    if (!wanted) return;
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    char when[40], line[1024];
    size_t n = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(when + n, sizeof when - n, ".%03ldZ", now.tv_nsec / 1000000);
    log->lines++;
    if (log->json) {
        event_format_json(line, sizeof line, event);
        fprintf(stderr, "{\"time\":\"%s\",%s\n", when, line + 1);
    } else {
        event_format(line, sizeof line, event);
        fprintf(stderr, "%s %s\n", when, line);
    }
}

struct event_sink events_log_sink(struct events_log *log)
{
    return (struct event_sink){.emit = print, .context = log};
}
