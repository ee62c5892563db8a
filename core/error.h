// The one list of operating errors. A programmer's error is `check()`; hostile bytes are CORE_ERR_MALFORMED and
// its neighbours, cost the sender, and never trip a check.
#ifndef CORE_ERROR_H
#define CORE_ERROR_H

// X(name, exit status of the command line, what it means to a person)
#define CORE_ERRORS(X)                                \
    X(OK, 0, "done")                                  \
    X(FAILED, 1, "failed")                            \
    X(USAGE, 2, "wrong usage")                        \
    X(NO_DAEMON, 3, "no daemon answers in this home") \
    X(REFUSED, 4, "refused")                          \
    X(UNREACHABLE, 5, "unreachable")                  \
    X(TIMED_OUT, 5, "timed out")                      \
    X(VERIFY_FAILED, 6, "verification failed")        \
    X(PARTLY, 7, "partly done")                       \
    X(INTERRUPTED, 130, "interrupted")                \
    X(NO_MEMORY, 1, "out of memory")                  \
    X(NO_SPACE, 1, "no space left on the device")     \
    X(IO, 1, "input or output failed")                \
    X(NOT_FOUND, 1, "not found")                      \
    X(EXISTS, 4, "exists already")                    \
    X(IN_USE, 4, "in use by another process")         \
    X(LIMIT, 4, "a limit is reached")                 \
    X(WOULD_BLOCK, 1, "would block")                  \
    X(TRUNCATED, 4, "cut short")                      \
    X(MALFORMED, 4, "malformed")                      \
    X(UNKNOWN_VERSION, 4, "of an unknown version")    \
    X(UNKNOWN_TYPE, 4, "of an unknown type")          \
    X(WRONG_MESH, 4, "for another mesh")              \
    X(BAD_SIGNATURE, 4, "signature does not verify")  \
    X(EXPIRED, 4, "expired")                          \
    X(USED_UP, 4, "used up")                          \
    X(REVOKED, 4, "revoked")                          \
    X(TOO_LARGE, 4, "too large")                      \
    X(TOO_SHORT, 4, "too short")                      \
    X(NON_FINITE, 1, "a number is not finite")        \
    X(UNSUPPORTED, 2, "not supported here")

enum core_err {
#define CORE_ERROR_ENUM(name, exit_status, text) CORE_ERR_##name,
    CORE_ERRORS(CORE_ERROR_ENUM)
#undef CORE_ERROR_ENUM
        CORE_ERR_COUNT
};

// The message of `err`, never NULL; "unknown error" for a number outside the list.
const char *core_error_text(enum core_err err);

// The exit status that the command line gives for `err` (docs: command reference).
int core_error_exit(enum core_err err);

// The enum's name without its prefix ("NO_SPACE"), for logs and JSON.
const char *core_error_name(enum core_err err);

// CORE_ERR_NO_SPACE for ENOSPC and EDQUOT, CORE_ERR_NOT_FOUND for ENOENT, CORE_ERR_NO_MEMORY for ENOMEM, otherwise IO.
enum core_err core_error_from_errno(int number);

#define CORE_MUST_USE __attribute__((warn_unused_result))

#endif
