// Many processes of one program that speak the lines of bench/mesh_node.h, in one private network: starting them,
// reading what they say, and who sees whom as they tell it. One thread.
#ifndef BENCH_FLEET_H
#define BENCH_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/netns.h"

enum { FLEET_ARGV_MAX = 4, FLEET_ADDRESS_MAX = 256 };

// argv is followed by INDEX COUNT SEED ADDRESS.
struct fleet_program {
    const char *name;  // "memberlist"
    const char *argv[FLEET_ARGV_MAX];
    uint32_t degree;  // JOIN names so many others, for one that finds no members itself; 0: all join through process 0
};

struct fleet_node {
    pid_t pid;
    bool alive;
    int in, out;  // its stdin and stdout, our ends
    char *text;   // what came and isn't a whole line yet
    size_t text_size, text_capacity;
    char address[FLEET_ADDRESS_MAX];
    bool ready, done, told;  // READY; DONE, STAT since last asked
    uint64_t full_us;        // FULL: when; 0 until then
    uint64_t delivered, duplicate;
    char talk[2048];
};

struct fleet_delivery {
    uint64_t number, latency_us;
};

struct fleet {
    struct fleet_program program;
    struct netns ns;
    uint32_t count;
    struct fleet_node *nodes;
    // [observer * count + observed]
    bool *sees;
    uint64_t *changed_us;  // when that last changed
    uint32_t *doubts;      // DOUBTs since cleared
    uint32_t *losses;      // GONEs since cleared
    struct fleet_delivery *deliveries;
    size_t delivery_count, delivery_capacity;
    uint64_t errors;
    char error[256];  // the first of them
};

// Starts `count` processes and waits until all are READY. `why` says what went wrong, or why it runs without a network
// of its own ("" otherwise). A NULL `seed` takes a random one.
bool fleet_open(struct fleet *f, const struct fleet_program *program, uint32_t count, char *why, size_t why_size);
void fleet_close(struct fleet *f);

uint64_t fleet_wall_us(void);  // the clock of the lines' times

// Sends a line (without its end) to a process.
void fleet_tell(struct fleet *f, uint32_t index, const char *format, ...) __attribute__((format(printf, 3, 4)));
// Kills process `index` as kill -9 does; it counts as dead from then on.
void fleet_kill(struct fleet *f, uint32_t index);
void fleet_clear(struct fleet *f);  // doubts and losses are counted anew

// Reads what several fleets say, for `wait_ms` at most or until something came.
void fleet_read(struct fleet *const *fleets, size_t count, int wait_ms);
// Reads until `done` or `limit_ms` have passed; the last value of `done`.
bool fleet_until(struct fleet *f, bool (*done)(struct fleet *f, void *context), void *context, double limit_ms);
void fleet_wait(struct fleet *f, double ms);  // reads so long

// ---- who sees whom; the dead neither look nor are looked for ----
uint32_t fleet_full(const struct fleet *f);     // processes that have seen all
bool fleet_all_see_all(const struct fleet *f);  // now
uint32_t fleet_unseen(const struct fleet *f);   // ordered pairs of the living that don't see each other
// How many of the living still see `index`; `last_us` gets when the last that doesn't gave it up.
uint32_t fleet_still_see(const struct fleet *f, uint32_t index, uint64_t *last_us);
// GONEs since cleared by the living about others of the living than `except` (UINT32_MAX: about any); the same of
// DOUBTs.
uint32_t fleet_false_losses(const struct fleet *f, uint32_t except);
uint32_t fleet_false_doubts(const struct fleet *f, uint32_t except);

// What all processes say to TALK, added up: messages sent by type, a line of text.
void fleet_talk(struct fleet *f, char *out, size_t size);

// All JOIN at once, through process 0 (or as `degree` says), and are waited for, `limit_ms` at most. Returns how many
// saw all; `took_ms` gets the time from the command to the last of them.
uint32_t fleet_join(struct fleet *f, double limit_ms, double *took_ms);

#endif
