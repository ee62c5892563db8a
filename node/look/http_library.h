// libmicrohttpd, opened when somebody wants the page and not before: a peer without `--http` doesn't carry it and what
// it brings along (GnuTLS, 3 MiB). What is used of its interface is declared here as in its <microhttpd.h>, version
// 0.9.75; libmicrohttpd.so.12 keeps it. Loop's thread.
#ifndef NODE_LOOK_HTTP_LIBRARY_H
#define NODE_LOOK_HTTP_LIBRARY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"

struct MHD_Daemon;
struct MHD_Connection;
struct MHD_Response;

enum { MHD_NO = 0, MHD_YES = 1, MHD_HEADER_KIND = 1 };
enum { MHD_USE_EPOLL = 512, MHD_ALLOW_SUSPEND_RESUME = 8192 | 1024 };
enum {
    MHD_OPTION_END = 0,
    MHD_OPTION_CONNECTION_LIMIT = 2,
    MHD_OPTION_CONNECTION_TIMEOUT = 3,
    MHD_OPTION_NOTIFY_COMPLETED = 4,
    MHD_OPTION_LISTEN_SOCKET = 12,
};
enum { MHD_DAEMON_INFO_EPOLL_FD = 3 };
enum { MHD_RESPMEM_PERSISTENT = 0, MHD_RESPMEM_MUST_COPY = 2 };
#define MHD_SIZE_UNKNOWN UINT64_MAX

typedef int (*http_access_function)(void *context, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *upload, size_t *upload_size,
                                    void **request);
typedef void (*http_completed_function)(void *context, struct MHD_Connection *connection, void **request, int how);
typedef ssize_t (*http_reader_function)(void *context, uint64_t at, char *out, size_t max);
typedef void (*http_free_function)(void *context);

struct http_library {
    void *handle;
    struct MHD_Daemon *(*start_daemon)(unsigned flags, uint16_t port, void *accept, void *accept_context,
                                       http_access_function access, void *context, ...);
    void (*stop_daemon)(struct MHD_Daemon *daemon);  // every connection must have been resumed
    int (*run)(struct MHD_Daemon *daemon);
    int (*get_timeout)(struct MHD_Daemon *daemon, unsigned long long *timeout_ms);  // MHD_NO: none
    const int *(*get_daemon_info)(struct MHD_Daemon *daemon, int what,
                                  ...);  // a union; the descriptor lies at its start
    const char *(*lookup_connection_value)(struct MHD_Connection *connection, int kind, const char *key);
    int (*queue_response)(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response);
    void (*suspend_connection)(struct MHD_Connection *connection);
    void (*resume_connection)(struct MHD_Connection *connection);
    struct MHD_Response *(*create_response_from_buffer)(size_t size, void *buffer, int mode);
    struct MHD_Response *(*create_response_from_callback)(uint64_t size, size_t block, http_reader_function reader,
                                                          void *context, http_free_function free);
    int (*add_response_header)(struct MHD_Response *response, const char *name, const char *value);
    void (*destroy_response)(struct MHD_Response *response);
};

// CORE_ERR_NOT_FOUND where it isn't installed, CORE_ERR_UNSUPPORTED where it lacks something.
CORE_MUST_USE enum core_err http_library_open(struct http_library *library);
void http_library_close(struct http_library *library);

#endif
