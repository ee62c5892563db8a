#include "core/error.h"

#include <errno.h>

const char *core_error_text(enum core_err err)
{
    static const char *const texts[] = {
#define CORE_ERROR_TEXT(name, exit_status, text) text,
        CORE_ERRORS(CORE_ERROR_TEXT)
#undef CORE_ERROR_TEXT
    };
    return (unsigned)err < CORE_ERR_COUNT ? texts[err] : "unknown error";
}

int core_error_exit(enum core_err err)
{
    static const int statuses[] = {
#define CORE_ERROR_EXIT(name, exit_status, text) exit_status,
        CORE_ERRORS(CORE_ERROR_EXIT)
#undef CORE_ERROR_EXIT
    };
    return (unsigned)err < CORE_ERR_COUNT ? statuses[err] : 1;
}

const char *core_error_name(enum core_err err)
{
    static const char *const names[] = {
#define CORE_ERROR_NAME(name, exit_status, text) #name,
        CORE_ERRORS(CORE_ERROR_NAME)
#undef CORE_ERROR_NAME
    };
    return (unsigned)err < CORE_ERR_COUNT ? names[err] : "UNKNOWN";
}

enum core_err core_error_from_errno(int number)
{
    switch (number) {
    case 0: return CORE_ERR_OK;
    case ENOSPC:
    case EDQUOT: return CORE_ERR_NO_SPACE;
    case ENOENT: return CORE_ERR_NOT_FOUND;
    case ENOMEM: return CORE_ERR_NO_MEMORY;
    case EEXIST: return CORE_ERR_EXISTS;
    default: return CORE_ERR_IO;
    }
}
