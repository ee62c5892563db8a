// Packets of a lane through shared memory: u8 1 where the bulk is in a descriptor beside it, u32 size of the head, u32
// size of the bulk, the head, and the bulk where it is inline.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/bulk_internal.h"

enum { ONE_DESCRIPTOR = CMSG_SPACE(sizeof(int)) };

enum core_err packet_decode(struct slice bytes, const struct core_hash *mesh, struct packet *out)
{
    struct reader r = reader_over(bytes.data, bytes.size);
    uint8_t by = read_u8(&r);
    size_t head_size = read_u32(&r);
    *out = (struct packet){.bulk_size = read_u32(&r), .by_descriptor = by == 1};
    if (r.failed || by > 1 || head_size == 0 || head_size > bytes.size - r.at) return CORE_ERR_MALFORMED;
    out->head = (struct slice){bytes.data + r.at, head_size};
    out->bulk = (struct slice){bytes.data + r.at + head_size, bytes.size - r.at - head_size};
    if (out->bulk.size != (by ? 0 : out->bulk_size) || (by && out->bulk_size == 0)) return CORE_ERR_MALFORMED;
    struct wire_header header;
    enum core_err err = wire_header_decode(out->head, mesh, &header);
    if (err) return err;
    if (((header.flags & WIRE_FLAG_BULK) != 0) != (out->bulk_size != 0)) return CORE_ERR_MALFORMED;
    return out->bulk_size > message_info(header.type)->bulk_limit ? CORE_ERR_TOO_LARGE : CORE_ERR_OK;
}

// ---- receiving ----

// Takes the bulk from where it is; `fd` is closed in any case.
static enum core_err take_bulk(const struct packet *p, int fd, struct buffer **out)
{
    *out = NULL;
    if (p->by_descriptor) return fd < 0 ? CORE_ERR_MALFORMED : buffer_map(fd, p->bulk_size, out);
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
    struct buffer *bulk = NULL;
    enum core_err err = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? CORE_ERR_MALFORMED : CORE_ERR_OK;
    if (!err) err = packet_decode((struct slice){lane->packet, (size_t)got}, &lane->bulk->mesh, &p);
    if (!err && !bulk_allowed(lane, p.head.size + p.bulk_size)) err = CORE_ERR_LIMIT;
    if (err) {
        if (fd >= 0) close(fd);
        return err;
    }
    err = take_bulk(&p, fd, &bulk);
    if (!err && !bulk_post(lane, BULK_EVENT_MESSAGE, LINK_NONE, p.head, bulk)) err = CORE_ERR_NO_MEMORY;
    if (err) buffer_drop(bulk);
    return err;
}

// ---- sending ----

// What is sent is a sealed buffer as a whole, or a copy in a memfd of its own.
static struct buffer *shareable(struct item *item)
{
    bool whole = item->bulk.data == buffer_data(item->buffer) && item->bulk.size == buffer_size(item->buffer);
    if (whole && buffer_descriptor(item->buffer) >= 0) return buffer_keep(item->buffer);
    return buffer_copy_shared(item->bulk);
}

enum core_err packet_send(struct bulk_lane *lane, struct item *item)
{
    bool by = item->bulk.size > BULK_INLINE_MAX;
    if (by) {
        struct buffer *shared = shareable(item);
        if (!shared) return CORE_ERR_NO_MEMORY;
        buffer_drop(item->buffer);
        item->buffer = shared;  // a packet that finds no room is not copied twice
        item->bulk = (struct slice){buffer_data(shared), buffer_size(shared)};
    }
    uint8_t sizes[PACKET_SIZES];
    struct writer w = writer_over(sizes, sizeof sizes);
    write_u8(&w, by);
    write_u32(&w, (uint32_t)item->head_size);
    write_u32(&w, (uint32_t)item->bulk.size);
    struct iovec parts[3] = {{sizes, sizeof sizes},
                             {item->head, item->head_size},
                             {(void *)(uintptr_t)item->bulk.data, by ? 0 : item->bulk.size}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 3};
    _Alignas(struct cmsghdr) uint8_t control[ONE_DESCRIPTOR] = {0};
    if (by) {
        int fd = buffer_descriptor(item->buffer);
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
