// invitation_decode over any text; what decodes is encoded again to the same token. Also address lists and ledgers.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "mesh/identity.h"
#include "mesh/invitation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct invitations ledger, ledger_back;
    static uint8_t ledger_bytes[INVITATIONS_BYTES];
    struct invitation in, back;
    struct address_list list;
    struct core_key key;
    char why[INVITATION_WHY_MAX], token[INVITATION_TEXT_MAX];
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (invitation_decode(text, &in, why) == CORE_ERR_OK) {
        invitation_encode(&in, token);
        check(invitation_decode(token, &back, why) == CORE_ERR_OK);
        check(memcmp(in.secret, back.secret, sizeof in.secret) == 0);
    }
    (void)!identity_decode(text, size, &key);
    free(text);
    uint8_t raw[ADDRESS_LIST_BYTES];
    if (address_list_decode((struct slice){data, size}, &list) == CORE_ERR_OK) address_list_encode(&list, raw);
    if (invitations_decode((struct slice){data, size}, &ledger) == CORE_ERR_OK) {
        size_t again = invitations_encode(&ledger, ledger_bytes);
        check(invitations_decode((struct slice){ledger_bytes, again}, &ledger_back) == CORE_ERR_OK);
    }
    return 0;
}
