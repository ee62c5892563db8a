// Stand-ins: what would tell a stranger about people or their machines becomes a short word that says what it was
// ("peer-2", "address-1", "hash-3"), the same thing the same word wherever it stands. Pure; one thread.
//
// Replaced: what was told by stand_ins_add (names, ids, paths); and what shows by its form: IPv4, IPv6 and MAC
// addresses but this machine's own (127.0.0.1, ::1, 0.0.0.0, ::), HOST.DOMAIN:PORT, hex of 16 digits and more, tokens,
// runs of 40 letters and digits, paths but the system's (/usr, /etc, /proc, ..).
#ifndef TOOLS_DOCTOR_STAND_INS_H
#define TOOLS_DOCTOR_STAND_INS_H

#include <jansson.h>
#include <stddef.h>

enum stand_in {
    STAND_IN_PEER,
    STAND_IN_MESH,
    STAND_IN_SITE,
    STAND_IN_ADDRESS,
    STAND_IN_HASH,
    STAND_IN_PATH,
    STAND_IN_HOME,  // one each, without a number
    STAND_IN_USER,
    STAND_IN_HOST,
    STAND_IN_KINDS
};

struct stand_ins;

struct stand_ins *stand_ins_open(void);  // NULL: no memory
void stand_ins_close(struct stand_ins *s);

// The next number of a kind, for what goes by several texts (a peer's name and its id).
unsigned stand_ins_next(struct stand_ins *s, enum stand_in kind);
// The number that a text of that kind has, hex also cut short; 0: none.
unsigned stand_ins_number(const struct stand_ins *s, enum stand_in kind, const char *text);
// `text` stands for number `number` of `kind`; what is known already stays what it was, "" is nothing. Hex of 8 digits
// and more also counts where it is cut short. Found as a word, or a part of one that . _ or - divide; a home or
// user with a / in it anywhere, the first that was told first.
void stand_ins_add(struct stand_ins *s, enum stand_in kind, unsigned number, const char *text);
// The same with a number of its own.
void stand_ins_add_new(struct stand_ins *s, enum stand_in kind, const char *text);

// The text with everything replaced, to be freed by the caller.
char *stand_ins_text(struct stand_ins *s, const char *text);
// The same with every string in `json`, in place; its keys stay.
void stand_ins_json(struct stand_ins *s, json_t *json);

#endif
