// HOME/members and HOME/incarnation: who is in the mesh, so that a restart finds it, and this peer's incarnation, so
// that nothing said of an earlier life counts against it. Loop's thread; the large file is written by a worker.
#ifndef NODE_MEMBERS_FILE_H
#define NODE_MEMBERS_FILE_H

struct node;

// After peer_open, before any link.
void members_file_restore(struct node *n);
// Once a second: writes what changed. Losing the newest is no loss, gossip tells it again.
void members_file_tick(struct node *n);

#endif
