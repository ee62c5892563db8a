// What `mycel doctor` finds: lines of checks that passed, warn or fail, each trouble with its cause and its remedy out
// of one table (node/doctor/checks_table.h). Judging is pure: small functions that turn facts into lines
// (checks_home.c, checks_machine.c, checks_mesh.c); who gathers the facts is node/doctor/doctor.h for this machine and
// verbs_doctor.c for what the daemon knows. Any thread.
#ifndef NODE_DOCTOR_CHECKS_H
#define NODE_DOCTOR_CHECKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/error.h"
#include "mesh/links.h"
#include "node/doctor/checks_table.h"
#include "node/doctor/dialback.h"
#include "node/home.h"

enum check {
#define CHECK_ENUM(name, text) CHECK_##name,
    CHECKS(CHECK_ENUM)
#undef CHECK_ENUM
        CHECK_COUNT
};

enum trouble {
    TROUBLE_NONE,
#define TROUBLE_ENUM(name, ...) TROUBLE_##name,
    TROUBLES(TROUBLE_ENUM)
#undef TROUBLE_ENUM
        TROUBLE_COUNT
};

enum checks_state { CHECKS_PASS, CHECKS_SKIP, CHECKS_WARN, CHECKS_FAIL };

enum { CHECKS_LINES_MAX = 64, CHECKS_TEXT_MAX = 1024, CHECKS_NAME_MAX = 64 };

struct checks_line {
    enum check check;
    enum checks_state state;
    enum trouble trouble;        // TROUBLE_NONE where it passed, or nobody could tell
    char peer[CHECKS_NAME_MAX];  // whom it is about; "" for this peer
    char cause[CHECKS_TEXT_MAX];
    char remedy[CHECKS_TEXT_MAX];  // "" without a trouble
};

struct checks {
    struct checks_line lines[CHECKS_LINES_MAX];
    uint32_t count, left_out;  // beyond CHECKS_LINES_MAX
};

const char *check_name(enum check check);            // "disk"
const char *checks_state_name(enum checks_state s);  // "pass", "skip", "warn", "fail"
const char *trouble_name(enum trouble trouble);      // "disk-full"
enum checks_state trouble_state(enum trouble trouble);

// Adds a trouble about `peer` (NULL: this one): pairs of a word of its texts and what stands for it, then NULL.
__attribute__((sentinel)) void checks_add(struct checks *c, enum trouble trouble, const char *peer, ...);
// Adds a check that passed, or that nobody could make.
__attribute__((format(printf, 3, 4))) void checks_pass(struct checks *c, enum check check, const char *format, ...);
__attribute__((format(printf, 3, 4))) void checks_skip(struct checks *c, enum check check, const char *format, ...);
bool checks_has(const struct checks *c, enum check check);  // has a line of it, of any state
enum checks_state checks_worst(const struct checks *c);

// {check, state, trouble, peer, cause, remedy}; `trouble` and `remedy` null where it passed or was skipped.
json_t *checks_line_json(const struct checks_line *line);
// The table of all troubles as the Markdown of docs/troubles.md.
void checks_markdown(FILE *file);

// ---- facts of the home (checks_home.c) ----
struct checks_home_facts {
    const char *home;
    bool there;          // a peer lives there
    const char *closed;  // why it cannot be looked at, or written to; NULL: it can
    uint32_t mode, key_mode;
    enum core_err key, charter, certificate, settings;  // of reading; certificate: of verifying against the charter
    bool certificate_decoded, other_key;                // other_key: it is for another key than the home's
    uint64_t now_s, issued_s, expires_s, founded_s;     // founded_s: of the charter
    bool revoked;                                       // the home's own list names its key
};
void checks_home(struct checks *c, const struct checks_home_facts *f);

struct checks_daemon_facts {
    const char *home, *socket;
    int pid;              // that holds the home; 0: none
    bool answers, found;  // found: somebody took the connection
    char process_state;   // as in /proc/PID/stat: 'T' is stopped
};
void checks_daemon(struct checks *c, const struct checks_daemon_facts *f);

// ---- facts of the machine (checks_machine.c) ----
enum checks_port { PORT_FREE, PORT_TAKEN, PORT_ELSEWHERE, PORT_DENIED, PORT_ANSWERS, PORT_MUTE, PORT_UNKNOWN };
struct checks_port_facts {
    enum checks_port state;
    const char *listen;  // "host:port"
    uint16_t port;
    const char *who;  // PORT_TAKEN: "nginx (process 812)", or "" where that is not known
    const char *why;  // PORT_DENIED, PORT_MUTE
};
void checks_port(struct checks *c, const struct checks_port_facts *f);

struct checks_disk_facts {
    const char *home;
    uint64_t free_bytes, size_bytes, files_free, files;  // files: inodes; 0 where the file system has no limit
};
void checks_disk(struct checks *c, const struct checks_disk_facts *f);

struct checks_limits_facts {  // UINT64_MAX: no limit
    uint64_t open_files, locked_bytes, group_bytes;
    uint32_t cpus, cpus_machine;
};
void checks_limits(struct checks *c, const struct checks_limits_facts *f);

// `devices` and `pci`: as `mycel hw --json` has them, NULL where they could not be had (`pci`: or where GPUs are not
// looked for). `silent_s`: the driver said nothing for so long; 0: it answered.
void checks_devices(struct checks *c, const json_t *devices, const json_t *pci, uint32_t silent_s);

// ---- facts that the daemon has (checks_mesh.c) ----
struct checks_member {
    char name[CHECKS_NAME_MAX];
    enum { MEMBER_IS_SUSPECT, MEMBER_IS_DEAD } state;
    uint64_t for_ms;  // in that state
    bool same_host;
    char site[CHECKS_NAME_MAX];
};
struct checks_members_facts {
    uint32_t known, up;                   // other members, those who left not counted
    const struct checks_member *members;  // the suspect and the dead
    uint32_t count;
    bool sponsor_unmet;  // this peer has joined, and has met nobody
    uint64_t up_ms;      // since this peer runs
};
void checks_members(struct checks *c, const struct checks_members_facts *f);

struct checks_dial_facts {
    const char *name, *address;
    enum link_reason reason;
    bool told;  // the other side said so
};
void checks_dial(struct checks *c, const struct checks_dial_facts *f);

struct checks_clock {
    char name[CHECKS_NAME_MAX];
    int64_t ahead_ms;  // of this machine's clock before that peer's
};
void checks_clocks(struct checks *c, const struct checks_clock *clocks, uint32_t count);

// What peers that were asked to dial this one said of one address.
struct checks_reach {
    char name[CHECKS_NAME_MAX];
    char address[ADDRESS_TEXT_MAX];
    enum dialback_result result;
};
void checks_reach(struct checks *c, const struct checks_reach *reach, uint32_t count, uint16_t port);

#endif
