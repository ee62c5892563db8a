#include "node/look/http_library.h"

#include <dlfcn.h>
#include <string.h>

static const char soname[] = "libmicrohttpd.so.12";

struct symbol {
    const char *name;
    size_t at;  // of its pointer in struct http_library
};

#define SYMBOL(field)                                       \
    {                                                       \
        "MHD_" #field, offsetof(struct http_library, field) \
    }

static const struct symbol symbols[] = {
    SYMBOL(start_daemon),
    SYMBOL(stop_daemon),
    SYMBOL(run),
    SYMBOL(get_timeout),
    SYMBOL(get_daemon_info),
    SYMBOL(lookup_connection_value),
    SYMBOL(queue_response),
    SYMBOL(suspend_connection),
    SYMBOL(resume_connection),
    SYMBOL(create_response_from_buffer),
    SYMBOL(create_response_from_callback),
    SYMBOL(add_response_header),
    SYMBOL(destroy_response),
};

enum core_err http_library_open(struct http_library *library)
{
    *library = (struct http_library){.handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL)};
    if (!library->handle) return CORE_ERR_NOT_FOUND;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library->handle, symbols[i].name);
        if (!found) {
            http_library_close(library);
            return CORE_ERR_UNSUPPORTED;
        }
        memcpy((char *)library + symbols[i].at, &found, sizeof found);
    }
    return CORE_ERR_OK;
}

void http_library_close(struct http_library *library)
{
    if (library->handle) dlclose(library->handle);
    *library = (struct http_library){0};
}
