// The decoders of a run's objects: any bytes give an error or an object that encodes again to the same bytes.
#include <string.h>

#include "core/check.h"
#include "learn/cut.h"
#include "learn/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[LEDGER_VALUE_LIMIT];
    static struct run_spec spec;
    static struct manifest manifest;
    static struct cut cut;
    static bool started;
    if (!started && sign_start() != CORE_ERR_OK) return 0;
    started = true;
    if (size == 0) return 0;
    const uint8_t which = data[0] % 7;
    const struct slice bytes = {data + 1, size - 1};
    struct writer w = writer_over(again, sizeof again);
    struct core_hash run;
    struct commit commit;
    struct run_enter enter;
    struct run_command command;
    struct evidence evidence;
    switch (which) {
    case 0: (void)!run_spec_decode(bytes, &spec, &run); break;
    case 1:
        if (manifest_decode(bytes, &manifest)) break;
        manifest_encode(&w, &manifest);
        check(!w.overflowed && w.size == bytes.size && memcmp(again, bytes.data, w.size) == 0);
        break;
    case 2:
        if (cut_decode(bytes, &cut)) break;
        cut_encode(&w, &cut);
        check(!w.overflowed && w.size == bytes.size && memcmp(again, bytes.data, w.size) == 0);
        break;
    case 3:
        if (!commit_read(bytes, &commit)) check(commit.shard_count <= TREE_SHARD_MAX && commit.slot < RUN_MEMBERS_MAX);
        break;
    case 4: (void)!run_enter_decode(bytes, &enter); break;
    case 5: (void)!evidence_decode(bytes, &evidence); break;
    default: (void)!run_command_decode(bytes, &command);
    }
    return 0;
}
