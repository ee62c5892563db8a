// Other people's programs beside which ours is measured: ours to steer them (bench/peers), built when first asked for.
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include <stdbool.h>
#include <stddef.h>

enum { PEERS_PATH_MAX = 1024 };

// Builds the Go program in bench/peers/NAME into .cache/bench/NAME and gives its path. Where that cannot be, false, and
// `why` says what is missing. Takes minutes the first time, since it fetches the libraries that go.sum pins.
bool peers_build_go(const char *name, char path[PEERS_PATH_MAX], char *why, size_t why_size);

// Where such programs are installed: .cache/bench of the repository, or the folder that MYCEL_BENCH_PEERS names.
void peers_folder(char path[PEERS_PATH_MAX]);
// A script of ours in bench/peers; false where the repository is not here.
bool peers_script(const char *name, char path[PEERS_PATH_MAX]);

#endif
