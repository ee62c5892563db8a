// Packets of a lane through shared memory: u8 kind, u32 size of the head, u32 size of the bulk, the head, and what
// follows by kind:
//   INLINE   the bulk
//   SEALED   nothing: the bulk is the descriptor beside it, a memfd that nobody can write to any more
//   SLAB     nothing: the bulk is the beginning of the descriptor beside it, lent (bulk_slabs.c)
//   WELCOME  no head, no bulk: slabs may come
//   BACK     no head; as bulk u64 numbers of slabs that were given back
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/bulk_internal.h"

enum { ONE_DESCRIPTOR = CMSG_SPACE(sizeof(int)) };

static bool shape_fits(const struct packet *p)
{
    switch (p->kind) {
    case PACKET_INLINE: return p->head.size > 0 && p->bulk.size == p->bulk_size;
    case PACKET_SEALED:
    case PACKET_SLAB: return p->head.size > 0 && p->bulk_size > 0 && p->bulk.size == 0;
    case PACKET_WELCOME: return p->head.size == 0 && p->bulk_size == 0 && p->bulk.size == 0;
    case PACKET_BACK:
        return p->head.size == 0 && p->bulk.size == p->bulk_size && p->bulk_size > 0 && p->bulk_size % 8 == 0 &&
               p->bulk_size / 8 <= LENT_MAX;
    case PACKET_KINDS: break;
    }
    return false;
}

enum core_err packet_decode(struct slice bytes, const struct core_hash *mesh, struct packet *out)
{
    struct reader r = reader_over(bytes.data, bytes.size);
    uint8_t kind = read_u8(&r);
    size_t head_size = read_u32(&r);
    *out = (struct packet){.bulk_size = read_u32(&r)};
    if (r.failed || kind >= PACKET_KINDS || head_size > bytes.size - r.at) return CORE_ERR_MALFORMED;
    out->kind = (enum packet_kind)kind;
    out->head = (struct slice){bytes.data + r.at, head_size};
    out->bulk = (struct slice){bytes.data + r.at + head_size, bytes.size - r.at - head_size};
    if (!shape_fits(out)) return CORE_ERR_MALFORMED;
    if (kind >= PACKET_WELCOME) return CORE_ERR_OK;
    struct wire_header header;
    enum core_err err = wire_header_decode(out->head, mesh, &header);
    if (err) return err;
    if (((header.flags & WIRE_FLAG_BULK) != 0) != (out->bulk_size != 0)) return CORE_ERR_MALFORMED;
    return out->bulk_size > message_info(header.type)->bulk_limit ? CORE_ERR_TOO_LARGE : CORE_ERR_OK;
}

// ---- receiving ----

// Takes the bulk from where it is; `fd` is closed in any case.
static enum core_err take_bulk(struct bulk_lane *lane, const struct packet *p, int fd, struct buffer **out)
{
    *out = NULL;
    if (p->kind == PACKET_SEALED) return fd < 0 ? CORE_ERR_MALFORMED : buffer_map(fd, p->bulk_size, out);
    if (p->kind == PACKET_SLAB) return bulk_borrow(lane, fd, p->bulk_size, out);
    if (fd >= 0) {
        close(fd);
        return CORE_ERR_MALFORMED;
    }
    if (p->bulk_size == 0) return CORE_ERR_OK;
    *out = buffer_new(p->bulk_size);
    if (!*out) return CORE_ERR_NO_MEMORY;
    memcpy(buffer_data(*out), p->bulk.data, p->bulk_size);
    return CORE_ERR_OK;
}

static enum core_err take_message(struct bulk_lane *lane, const struct packet *p, int fd)
{
    struct buffer *bulk = NULL;
    enum core_err err = take_bulk(lane, p, fd, &bulk);
    if (!err && !bulk_post(lane, BULK_EVENT_MESSAGE, LINK_NONE, p->head, bulk)) err = CORE_ERR_NO_MEMORY;
    if (err) buffer_drop(bulk);
    return err;
}

// The descriptor that came along, -1 for none. The kernel closes what does not fit into `control`.
static int descriptor_of(struct msghdr *m)
{
    int fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

enum core_err packet_receive(struct bulk_lane *lane)
{
    _Alignas(struct cmsghdr) uint8_t control[ONE_DESCRIPTOR];
    struct iovec part = {lane->packet, PACKET_MAX};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(lane->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? CORE_ERR_WOULD_BLOCK : CORE_ERR_NOT_FOUND;
    int fd = descriptor_of(&m);
    if (got == 0 && fd < 0) return CORE_ERR_NOT_FOUND;
    struct packet p;
    enum core_err err = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? CORE_ERR_MALFORMED : CORE_ERR_OK;
    if (!err) err = packet_decode((struct slice){lane->packet, (size_t)got}, &lane->bulk->mesh, &p);
    const bool message = !err && p.kind < PACKET_WELCOME;
    if (message && !bulk_allowed(lane, p.head.size + p.bulk_size)) err = CORE_ERR_LIMIT;
    if (!err && message) return take_message(lane, &p, fd);
    if (fd >= 0) close(fd);
    if (err || fd >= 0) return err ? err : CORE_ERR_MALFORMED;
    if (p.kind == PACKET_BACK) return bulk_came_back(lane, p.bulk);
    atomic_store(&lane->slabs_welcome, true);
    return CORE_ERR_OK;
}

// ---- sending ----

static bool whole(struct item *item)
{
    return item->bulk.data == buffer_data(item->buffer) && item->bulk.size == buffer_size(item->buffer) &&
           buffer_descriptor(item->buffer) >= 0;
}

// What is sent is a sealed buffer as a whole, or a copy in a memfd of its own, which a packet that finds no room keeps.
static enum core_err make_sealed(struct item *item)
{
    if (whole(item) && !buffer_is_slab(item->buffer)) return CORE_ERR_OK;
    struct buffer *copy = buffer_copy_shared(item->bulk);
    if (!copy) return CORE_ERR_NO_MEMORY;
    buffer_drop(item->buffer);
    item->buffer = copy;
    item->bulk = (struct slice){buffer_data(copy), buffer_size(copy)};
    return CORE_ERR_OK;
}

static enum core_err put(struct bulk_lane *lane, enum packet_kind kind, struct slice head, struct slice bulk, int fd)
{
    uint8_t sizes[PACKET_SIZES];
    struct writer w = writer_over(sizes, sizeof sizes);
    write_u8(&w, kind);
    write_u32(&w, (uint32_t)head.size);
    write_u32(&w, (uint32_t)bulk.size);
    struct iovec parts[3] = {{sizes, sizeof sizes},
                             {(void *)(uintptr_t)head.data, head.size},
                             {(void *)(uintptr_t)bulk.data, fd >= 0 ? 0 : bulk.size}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 3};
    _Alignas(struct cmsghdr) uint8_t control[ONE_DESCRIPTOR] = {0};
    if (fd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t got = sendmsg(lane->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (got >= 0) return CORE_ERR_OK;
    if (errno == EAGAIN) return CORE_ERR_WOULD_BLOCK;
    // Too many descriptors are on their way: they go as others read, and nothing tells when.
    if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == EINTR) return CORE_ERR_LIMIT;
    return CORE_ERR_NOT_FOUND;
}

enum core_err packet_send(struct bulk_lane *lane, struct item *item)
{
    const struct slice head = {item->head, item->head_size};
    if (item->bulk.size <= BULK_INLINE_MAX) return put(lane, PACKET_INLINE, head, item->bulk, -1);
    if (buffer_is_slab(item->buffer) && whole(item) && bulk_lend(lane, item->buffer)) {
        enum core_err err = put(lane, PACKET_SLAB, head, item->bulk, buffer_descriptor(item->buffer));
        if (err) bulk_lend_not(lane);
        return err;
    }
    enum core_err err = make_sealed(item);
    return err ? err : put(lane, PACKET_SEALED, head, item->bulk, buffer_descriptor(item->buffer));
}

bool packet_tells(const struct bulk_lane *lane)
{
    return lane->returns && (!lane->welcomed || bulk_returns_wait(lane->returns));
}

enum core_err packet_tell(struct bulk_lane *lane)
{
    const struct slice none = {0};
    if (!lane->welcomed) {
        enum core_err err = put(lane, PACKET_WELCOME, none, none, -1);
        lane->welcomed = !err;
        return err;
    }
    uint8_t numbers[LENT_MAX * 8];
    const size_t size = bulk_returns_take(lane->returns, numbers);
    enum core_err err = put(lane, PACKET_BACK, none, (struct slice){numbers, size}, -1);
    if (!err) bulk_returns_told(lane->returns, size);
    return err;
}
