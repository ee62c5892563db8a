#include "tools/lab/hosts_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_FOLDER "/run"
#define STATE_PREFIX "mycel-lab-"

char *hosts_state_path(char out[64], const char *tag, const char *suffix)
{
    snprintf(out, 64, STATE_FOLDER "/" STATE_PREFIX "%.23s%s", tag, suffix);
    return out;
}

static enum core_err map(struct hosts_state *state, int protection)
{
    void *at = mmap(NULL, sizeof *state->table, protection, MAP_SHARED, state->fd, 0);
    if (at == MAP_FAILED) return core_error_from_errno(errno);
    state->table = at;
    return CORE_ERR_OK;
}

enum core_err hosts_state_open(struct hosts_state *state, const char *tag)
{
    char path[64];
    struct stat held, named;
    *state = (struct hosts_state){.fd = -1};
    for (;;) {
        state->fd = open(hosts_state_path(path, tag, ""), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (state->fd < 0) return errno == EACCES || errno == EPERM ? CORE_ERR_REFUSED : core_error_from_errno(errno);
        while (flock(state->fd, LOCK_EX) != 0 && errno == EINTR) continue;
        // Removed by another while we waited: that file is nobody's.
        if (fstat(state->fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino) break;
        close(state->fd);
    }
    enum core_err err = CORE_ERR_OK;
    if (held.st_size != (off_t)sizeof *state->table &&
        (ftruncate(state->fd, 0) != 0 || ftruncate(state->fd, sizeof *state->table) != 0))
        err = core_error_from_errno(errno);
    if (!err) err = map(state, PROT_READ | PROT_WRITE);
    if (err) {
        hosts_state_close(state);
        return err;
    }
    if (memcmp(state->table->magic, HOSTS_STATE_MAGIC, sizeof state->table->magic) != 0) {
        memset(state->table, 0, sizeof *state->table);
        memcpy(state->table->magic, HOSTS_STATE_MAGIC, sizeof state->table->magic);
    }
    return CORE_ERR_OK;
}

enum core_err hosts_state_peek(struct hosts_state *state, const char *tag)
{
    char path[64];
    struct stat held;
    *state = (struct hosts_state){.fd = open(hosts_state_path(path, tag, ""), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (state->fd < 0) return core_error_from_errno(errno);
    enum core_err err = fstat(state->fd, &held) == 0 && held.st_size == (off_t)sizeof *state->table
                            ? map(state, PROT_READ)
                            : CORE_ERR_NOT_FOUND;
    if (!err && memcmp(state->table->magic, HOSTS_STATE_MAGIC, sizeof state->table->magic) != 0)
        err = CORE_ERR_NOT_FOUND;
    if (err) hosts_state_close(state);
    return err;
}

void hosts_state_close(struct hosts_state *state)
{
    if (state->table) munmap(state->table, sizeof *state->table);
    if (state->fd >= 0) {
        (void)flock(state->fd, LOCK_UN);
        close(state->fd);
    }
    *state = (struct hosts_state){.fd = -1};
}

void hosts_state_remove(const char *tag)
{
    char path[64];
    (void)unlink(hosts_state_path(path, tag, ""));
    (void)unlink(hosts_state_path(path, tag, ".relay"));
}

void hosts_state_tags(void (*each)(void *context, const char *tag), void *context)
{
    DIR *folder = opendir(STATE_FOLDER);
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        if (strncmp(entry->d_name, STATE_PREFIX, sizeof STATE_PREFIX - 1) != 0) continue;
        const char *tag = entry->d_name + sizeof STATE_PREFIX - 1;
        if (hosts_tag_valid(tag)) each(context, tag);
    }
    if (folder) closedir(folder);
}
