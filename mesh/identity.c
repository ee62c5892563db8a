#include "mesh/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"

static const char file_head[] = "mycel key v1\nid ";
static const char file_seed[] = "\nseed ";

enum core_err identity_curve_public(const struct core_id *id, uint8_t out[IDENTITY_CURVE_SIZE])
{
    return crypto_sign_ed25519_pk_to_curve25519(out, id->bytes) == 0 ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

enum core_err identity_curve_pair(const struct core_key *key, struct identity_curve *out)
{
    if (identity_curve_public(&key->id, out->public_key)) return CORE_ERR_MALFORMED;
    return crypto_sign_ed25519_sk_to_curve25519(out->secret_key, key->secret) == 0 ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

void identity_forget(void *secret, size_t size)
{
    sodium_memzero(secret, size);
}

size_t identity_encode(const struct core_key *key, char out[IDENTITY_FILE_MAX])
{
    // libsodium's Ed25519 secret is the seed followed by the public key.
    char id[CORE_ID_HEX], seed[2 * CORE_SEED_SIZE + 1];
    hex_encode(id, key->id.bytes, sizeof key->id.bytes);
    hex_encode(seed, key->secret, CORE_SEED_SIZE);
    int length = snprintf(out, IDENTITY_FILE_MAX, "%s%s%s%s\n", file_head, id, file_seed, seed);
    identity_forget(seed, sizeof seed);
    return (size_t)length;
}

enum core_err identity_decode(const char *text, size_t size, struct core_key *key)
{
    size_t head = sizeof file_head - 1, middle = sizeof file_seed - 1, hex = 2 * CORE_SEED_SIZE;
    size_t whole = head + hex + middle + hex;
    if (size != whole && !(size == whole + 1 && text[whole] == '\n')) return CORE_ERR_MALFORMED;
    if (memcmp(text, file_head, head) != 0 || memcmp(text + head + hex, file_seed, middle) != 0)
        return CORE_ERR_MALFORMED;
    char id_text[CORE_ID_HEX] = {0}, seed_text[2 * CORE_SEED_SIZE + 1] = {0};
    memcpy(id_text, text + head, hex);
    memcpy(seed_text, text + head + hex + middle, hex);
    struct core_id id;
    uint8_t seed[CORE_SEED_SIZE];
    bool ok = hex_decode(id.bytes, sizeof id.bytes, id_text) && hex_decode(seed, sizeof seed, seed_text);
    if (ok) *key = sign_key_from_seed(seed);
    identity_forget(seed, sizeof seed);
    identity_forget(seed_text, sizeof seed_text);
    if (!ok) return CORE_ERR_MALFORMED;
    return id_equal(&id, &key->id) ? CORE_ERR_OK : CORE_ERR_VERIFY_FAILED;
}

enum core_err identity_load(const char *path, struct core_key *key)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return core_error_from_errno(errno);
    struct stat st;
    char text[IDENTITY_FILE_MAX + 1];
    enum core_err err = CORE_ERR_OK;
    ssize_t size = -1;
    if (fstat(fd, &st) != 0)
        err = core_error_from_errno(errno);
    else if ((st.st_mode & 077) != 0 || st.st_uid != geteuid())
        err = CORE_ERR_REFUSED;
    else if ((size = read(fd, text, sizeof text)) < 0)
        err = core_error_from_errno(errno);
    close(fd);
    if (!err) err = identity_decode(text, (size_t)size, key);
    identity_forget(text, sizeof text);
    return err;
}

enum core_err identity_save(const char *path, const struct core_key *key)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return errno == EEXIST ? CORE_ERR_EXISTS : core_error_from_errno(errno);
    char text[IDENTITY_FILE_MAX];
    size_t size = identity_encode(key, text);
    ssize_t wrote = write(fd, text, size);
    enum core_err err = CORE_ERR_OK;
    if (wrote < 0 || fsync(fd) != 0)
        err = core_error_from_errno(errno);
    else if ((size_t)wrote != size)
        err = CORE_ERR_NO_SPACE;
    if (close(fd) != 0 && !err) err = core_error_from_errno(errno);
    identity_forget(text, sizeof text);
    if (err) unlink(path);  // a half-written key would never load
    return err;
}
