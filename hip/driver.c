#include "hip/driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_DEVICE = 100 };  // CUDA_ERROR_NO_DEVICE, hipErrorNoDevice

struct symbol {
    const char *name;
    size_t offset;
};

#define SYMBOL_NVIDIA(field, nvidia, amd, arguments) {#nvidia, offsetof(struct driver, field)},
#define SYMBOL_AMD(field, nvidia, amd, arguments)    {#amd, offsetof(struct driver, field)},
#define SYMBOL(field, symbol, arguments)             {#symbol, offsetof(struct driver, field)},
static const struct symbol symbols_nvidia[] = {DRIVER_CALLS(SYMBOL_NVIDIA) DRIVER_CALLS_NVIDIA(SYMBOL)};
static const struct symbol symbols_amd[] = {DRIVER_CALLS(SYMBOL_AMD) DRIVER_CALLS_AMD(SYMBOL)};

// The library, or NULL with why where there is one that cannot be used; NULL and "" where there is none.
static void *library_open(bool amd, char *why, size_t why_size)
{
    // AMD's library carries its major version in its name; the plain one comes with the developers' packages.
    static const char *const nvidia[] = {"libcuda.so.1"}, *const amds[] = {"libamdhip64.so", "libamdhip64.so.7",
                                                                           "libamdhip64.so.6", "libamdhip64.so.5"};
    const char *given = getenv(amd ? "MYCEL_HIP_LIBRARY" : "MYCEL_CUDA_LIBRARY");
    const bool named = given && *given;
    const char *const *names = named ? &given : amd ? amds : nvidia;
    const size_t count = named ? 1 : amd ? sizeof amds / sizeof *amds : sizeof nvidia / sizeof *nvidia;
    for (size_t i = 0; i < count; i++) {
        // A driver has threads and state of its own: once there it stays.
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library) return library;
        const char *error = dlerror();
        const size_t length = strlen(names[i]);
        const bool absent = error && !strncmp(error, names[i], length) && strstr(error, "cannot open shared object");
        if (absent && !named) continue;
        if (why_size && !*why)
            snprintf(why, why_size, "%s's driver library cannot be loaded: %s; install the driver anew",
                     amd ? "AMD" : "NVIDIA", error ? error : names[i]);
    }
    return NULL;
}

const char *driver_error(const struct driver *d, int error, char text[32])
{
    const char *name = NULL;
    if (d->error_text && d->error_text(error, &name) == 0 && name) return name;
    snprintf(text, 32, "error %d", error);
    return text;
}

static enum core_err fail(struct driver *d, enum core_err err)
{
    driver_close(d);
    return err;
}

enum core_err driver_open(bool amd, struct driver *d, char *why, size_t why_size)
{
    const char *vendor = amd ? "AMD" : "NVIDIA";
    *d = (struct driver){.amd = amd};
    if (why_size) *why = 0;
    d->library = library_open(amd, why, why_size);
    if (!d->library) return why_size && *why ? CORE_ERR_UNSUPPORTED : CORE_ERR_NOT_FOUND;
    const struct symbol *symbols = amd ? symbols_amd : symbols_nvidia;
    const size_t count =
        amd ? sizeof symbols_amd / sizeof *symbols_amd : sizeof symbols_nvidia / sizeof *symbols_nvidia;
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(d->library, symbols[i].name);
        if (!found) {
            if (why)
                snprintf(why, why_size, "%s's driver is too old: it has no %s; install a newer one", vendor,
                         symbols[i].name);
            return fail(d, CORE_ERR_UNSUPPORTED);
        }
        memcpy((char *)d + symbols[i].offset, &found, sizeof found);
    }
    int error = d->init(0), devices = 0;
    if (!error) error = d->count(&devices);
    if (error == NO_DEVICE || (!error && devices <= 0)) return fail(d, CORE_ERR_NOT_FOUND);
    if (error) {
        char text[32];
        if (why)
            snprintf(why, why_size, "%s's driver does not start: %s; look at its kernel module (dmesg) and restart it",
                     vendor, driver_error(d, error, text));
        return fail(d, CORE_ERR_IO);
    }
    return CORE_ERR_OK;
}

void driver_close(struct driver *d)
{
    if (d->library) dlclose(d->library);
    d->library = NULL;
}
