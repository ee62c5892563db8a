#include "node/home.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/check.h"
#include "node/machine.h"

enum { FULL_PATH_SIZE = HOME_PATH_SIZE + 256 };

// Joins the parts; false when they don't fit.
static bool join(char *out, size_t size, const char *a, const char *b)
{
    int n = snprintf(out, size, "%s%s", a, b);
    return n >= 0 && (size_t)n < size;
}

// Root's peer, where it has none in its own folder: the machine's. NULL for none. Whoever points HOME elsewhere,
// without sudo, means what lies there.
static const char *roots(const char *own, const char *user)
{
    char key[FULL_PATH_SIZE];
    const struct passwd *root = geteuid() == 0 ? getpwuid(0) : NULL;
    if (!root || (strcmp(user, root->pw_dir) != 0 && !getenv("SUDO_UID"))) return NULL;
    if (!join(key, sizeof key, own, "/key") || access(key, F_OK) == 0) return NULL;
    return machine_home();
}

enum core_err home_path(char out[HOME_PATH_SIZE], const char *given)
{
    char path[HOME_PATH_SIZE];
    const char *variable = getenv("MYCEL_HOME"), *state = getenv("XDG_STATE_HOME"), *user = getenv("HOME");
    bool fits;
    if (given && *given)
        fits = join(path, sizeof path, given, "");
    else if (variable && *variable)
        fits = join(path, sizeof path, variable, "");
    else if (state && *state)
        fits = join(path, sizeof path, state, "/mycel");
    else if (user && *user)
        fits = join(path, sizeof path, user, "/.local/state/mycel");
    else
        return CORE_ERR_NOT_FOUND;
    if (!fits) return CORE_ERR_TOO_LARGE;
    bool named = (given && *given) || (variable && *variable) || (state && *state);
    const char *machines = named ? NULL : roots(path, user);
    if (machines) return join(out, HOME_PATH_SIZE, machines, "") ? CORE_ERR_OK : CORE_ERR_TOO_LARGE;
    char real[PATH_MAX];
    if (realpath(path, real)) return join(out, HOME_PATH_SIZE, real, "") ? CORE_ERR_OK : CORE_ERR_TOO_LARGE;
    if (path[0] == '/') return join(out, HOME_PATH_SIZE, path, "") ? CORE_ERR_OK : CORE_ERR_TOO_LARGE;
    if (!getcwd(real, sizeof real)) return core_error_from_errno(errno);
    int n = snprintf(out, HOME_PATH_SIZE, "%s/%s", real, path);
    return n >= 0 && n < HOME_PATH_SIZE ? CORE_ERR_OK : CORE_ERR_TOO_LARGE;
}

// Makes every folder of `path` that is missing; with `parents_only`, all but the last part.
static enum core_err make_folders(const char *path, bool parents_only)
{
    char part[FULL_PATH_SIZE];
    if (!join(part, sizeof part, path, "")) return CORE_ERR_TOO_LARGE;
    for (char *p = part + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(part, 0700) && errno != EEXIST) return core_error_from_errno(errno);
        *p = '/';
    }
    if (!parents_only && mkdir(part, 0700) && errno != EEXIST) return core_error_from_errno(errno);
    return CORE_ERR_OK;
}

void home_file(const struct home *h, const char *name, char out[HOME_PATH_SIZE + 256])
{
    int n = snprintf(out, FULL_PATH_SIZE, "%s/%s", h->path, name);
    check(n > 0 && n < FULL_PATH_SIZE);
}

bool home_has(const struct home *h, const char *name)
{
    char path[FULL_PATH_SIZE];
    home_file(h, name, path);
    return access(path, F_OK) == 0;
}

enum core_err home_create(const char *path)
{
    char key[FULL_PATH_SIZE];
    if (!join(key, sizeof key, path, "/key")) return CORE_ERR_TOO_LARGE;
    if (access(key, F_OK) == 0) return CORE_ERR_EXISTS;
    enum core_err err = make_folders(path, false);
    if (err) return err;
    char real[PATH_MAX];
    if (!realpath(path, real)) return core_error_from_errno(errno);
    struct stat st;
    if (stat(real, &st)) return core_error_from_errno(errno);
    if (S_ISDIR(st.st_mode)) return CORE_ERR_OK;
    errno = ENOTDIR;
    return CORE_ERR_IO;
}

static enum core_err lock(struct home *h)
{
    char path[FULL_PATH_SIZE];
    home_file(h, "lock", path);
    h->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (h->lock < 0) return core_error_from_errno(errno);
    if (flock(h->lock, LOCK_EX | LOCK_NB)) {
        enum core_err err = errno == EWOULDBLOCK ? CORE_ERR_IN_USE : core_error_from_errno(errno);
        home_close(h);
        return err;
    }
    // The pid is a courtesy to whoever finds the home in use; on a full disk it may be missing.
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(h->lock, 0) == 0 && pwrite(h->lock, pid, (size_t)n, 0) < 0) return CORE_ERR_OK;
    return CORE_ERR_OK;
}

enum core_err home_open_new(struct home *h, const char *path)
{
    *h = (struct home){.lock = -1};
    if (!join(h->path, sizeof h->path, path, "")) return CORE_ERR_TOO_LARGE;
    return lock(h);
}

enum core_err home_open(struct home *h, const char *path)
{
    *h = (struct home){.lock = -1};
    if (!join(h->path, sizeof h->path, path, "")) return CORE_ERR_TOO_LARGE;
    if (!home_has(h, "key")) return errno == EACCES ? CORE_ERR_IO : CORE_ERR_NOT_FOUND;
    return lock(h);
}

void home_close(struct home *h)
{
    if (h->lock >= 0) close(h->lock);
    h->lock = -1;
}

int home_holder(const char *path)
{
    char name[FULL_PATH_SIZE];
    if (!join(name, sizeof name, path, "/lock")) return 0;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    char text[32] = {0};
    int pid = 0;
    if (flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK && read(fd, text, sizeof text - 1) > 0)
        pid = (int)strtol(text, NULL, 10);
    close(fd);
    return pid;
}

char home_process_state(int pid)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f) return '?';
    if (!fgets(line, sizeof line, f)) line[0] = 0;
    fclose(f);
    const char *end = strrchr(line, ')');  // of the program's name, which may hold anything
    return end && end[1] == ' ' && end[2] ? end[2] : '?';
}

static enum core_err write_all(int fd, struct slice s)
{
    while (s.size) {
        ssize_t n = write(fd, s.data, s.size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return core_error_from_errno(errno);
        s.data += n;
        s.size -= (size_t)n;
    }
    return CORE_ERR_OK;
}

static enum core_err sync_folder_of(const char *path)
{
    char folder[FULL_PATH_SIZE];
    if (!join(folder, sizeof folder, path, "")) return CORE_ERR_TOO_LARGE;
    char *slash = strrchr(folder, '/');
    if (slash && slash != folder) *slash = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return core_error_from_errno(errno);
    enum core_err err = fsync(fd) ? core_error_from_errno(errno) : CORE_ERR_OK;
    close(fd);
    return err;
}

static enum core_err write_temporary(const char *path, const struct slice *parts, size_t count)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return core_error_from_errno(errno);
    enum core_err err = CORE_ERR_OK;
    for (size_t i = 0; i < count && !err; i++) err = write_all(fd, parts[i]);
    if (!err && fsync(fd)) err = core_error_from_errno(errno);
    if (close(fd) && !err) err = core_error_from_errno(errno);
    return err;
}

enum core_err home_write_parts(const struct home *h, const char *name, const struct slice *parts, size_t count)
{
    char path[FULL_PATH_SIZE], temporary[FULL_PATH_SIZE + 8];
    home_file(h, name, path);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    enum core_err err = write_temporary(temporary, parts, count);
    if (err == CORE_ERR_NOT_FOUND) {
        err = make_folders(path, true);
        if (!err) err = write_temporary(temporary, parts, count);
    }
    if (!err && rename(temporary, path)) err = core_error_from_errno(errno);
    if (!err) return sync_folder_of(path);
    unlink(temporary);
    return err;
}

enum core_err home_write(const struct home *h, const char *name, struct slice data)
{
    return home_write_parts(h, name, &data, 1);
}

static enum core_err read_all(int fd, uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = read(fd, data + at, size - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return core_error_from_errno(errno);
        if (n == 0) return CORE_ERR_TRUNCATED;
        at += (size_t)n;
    }
    return CORE_ERR_OK;
}

enum core_err home_read(const struct home *h, const char *name, size_t limit, uint8_t **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    char path[FULL_PATH_SIZE];
    home_file(h, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return core_error_from_errno(errno);
    struct stat st;
    enum core_err err = fstat(fd, &st) ? core_error_from_errno(errno) : CORE_ERR_OK;
    if (!err && (st.st_size < 0 || (uint64_t)st.st_size > limit)) err = CORE_ERR_TOO_LARGE;
    uint8_t *bytes = NULL;
    if (!err && !(bytes = malloc((size_t)st.st_size + 1))) err = CORE_ERR_NO_MEMORY;
    if (!err) err = read_all(fd, bytes, (size_t)st.st_size);
    close(fd);
    if (err) {
        free(bytes);
        return err;
    }
    bytes[st.st_size] = 0;  // so that text files end as text
    *data = bytes;
    *size = (size_t)st.st_size;
    return CORE_ERR_OK;
}

void home_remove(const struct home *h, const char *name)
{
    char path[FULL_PATH_SIZE];
    home_file(h, name, path);
    unlink(path);
}
