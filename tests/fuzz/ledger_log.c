// Any bytes as a log, a head, a vote, a proposal and a certificate: refused, or read within their bounds.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "ledger/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = {data, size};
    struct ledger_reader r = ledger_reader_over(bytes);
    struct ledger_entry e;
    while (ledger_reader_next(&r, &e) == CORE_ERR_OK) {
        check(r.at <= size && e.value.size <= LEDGER_VALUE_LIMIT);
        check(e.value.data >= data && e.value.data + e.value.size <= data + size);
    }
    struct ledger_head head;
    if (ledger_head_read(bytes, &head) == CORE_ERR_OK) check(size == LEDGER_HEAD_SIZE);
    struct reader in = reader_over(data, size);
    struct ledger_vote v;
    if (ledger_vote_read(&in, &v) == CORE_ERR_OK) {
        uint8_t again[LEDGER_VOTE_SIZE];
        struct writer w = writer_over(again, sizeof again);
        ledger_vote_write(&w, &v);
        check(in.at == LEDGER_VOTE_SIZE && memcmp(again, data, sizeof again) == 0);
    }
    struct ledger_proposal p;
    if (ledger_proposal_read(bytes, &p) == CORE_ERR_OK) check(p.value.size + p.certificate.size < size);
    struct ledger_certificate c;
    if (ledger_certificate_read(bytes, &c) == CORE_ERR_OK) {
        check(c.signatures + (size_t)__builtin_popcountll(c.signers) * CORE_SIG_SIZE == data + size);
    }
    return 0;
}
