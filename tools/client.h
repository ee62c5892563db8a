// A verb's talk with the daemon of its home: requests as JSON objects, answers one by one, failures and waits printed
// in the one form that the command line has for them. One thread.
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include <jansson.h>

#include "node/control/control.h"
#include "tools/call.h"

enum { CLIENT_PATIENCE_MS = 10000 };  // a daemon that says nothing for so long is named as the problem

struct client {
    struct call *call;
    struct control_client control;
    char waiting[512];  // the wait printed last, so that it is printed once
};

// Every function that returns an exit status has printed the failure when it isn't 0.

// Says that no daemon runs in the call's home, why and what to do: the exit status for it.
int client_no_daemon(struct call *call);
// Connects to the daemon of the call's home.
int client_open(struct client *c, struct call *call);
void client_close(struct client *c);
// Sends {"verb": verb, ...fields}; takes `fields` (NULL: none).
int client_send(struct client *c, const char *verb, json_t *fields);
// The next answer in `*answer`, which the caller releases; waits are printed here and skipped. Answers with an error
// have been printed. `*last` tells the final one, whose "exit" is then in `*status` and no longer in the object.
// `patience_ms` -1: for ever. Returns 0, or the exit status with which to give up, `*answer` then NULL.
int client_next(struct client *c, int patience_ms, json_t **answer, bool *last, int *status);

// One request, one answer: connects, asks, closes. With `*answer` NULL on a failure, else to be released by the caller;
// the status is the daemon's.
int client_ask(struct call *call, const char *verb, json_t *fields, int patience_ms, json_t **answer);
// The same with its texts as they were sent: for who writes them to a file. client_ask makes them fit for a terminal
// (output_safe) unless --json is wanted.
int client_ask_verbatim(struct call *call, const char *verb, json_t *fields, int patience_ms, json_t **answer);
// What client_ask does to its answer's texts, for who uses client_next.
void client_make_safe(json_t *answer);
// The same with another home and nothing printed, its texts made fit; NULL on any failure.
json_t *client_ask_quietly(const char *home, const char *verb, json_t *fields, int patience_ms);

// From here on SIGINT and SIGTERM only set a flag, which ends the wait in client_next with status 130.
void client_catch_interrupts(void);
bool client_interrupted(void);

// Fields of an answer, with what stands in for a missing or null one.
const char *field_text(const json_t *object, const char *key, const char *otherwise);
double field_number(const json_t *object, const char *key, double otherwise);
bool field_true(const json_t *object, const char *key);

// One wait as a line: peer: cause; remedy.
void client_describe_wait(char *out, size_t size, const json_t *wait);

#endif
