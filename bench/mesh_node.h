// One process of gossip and links alone, without training, disk or control socket: what `mycel bench mesh` starts many
// of, as the programs of its peers are processes of their library alone. It has a real certificate of a throw-away
// charter, speaks real CURVE, and performs gossip's effects as node/ does.
//
//   mycel bench mesh-node INDEX COUNT SEED ADDRESS
//
// It is peer INDEX of COUNT; all keys follow from SEED, so every process makes the same charter by itself. It is
// steered line by line over stdin and stdout, in the form that all the programs of bench/peers speak. Times are
// microseconds of CLOCK_REALTIME, peers are named by their index:
//
//   in   JOIN ADDR...               enter the mesh through any of these
//        PUB FIRST SIZE COUNT RATE  broadcast COUNT payloads numbered from FIRST, RATE a second (0: at once)
//        STAT                       tell what was delivered since the last STAT
//        TALK                       tell messages sent so far, by type
//   out  READY ADDR                 ADDR is what JOIN takes
//        FULL T                     sees all COUNT peers alive, for the first time
//        GONE T I, BACK T I         from then on: declares peer I dead, sees it again
//        DOUBT T I                  and: suspects peer I
//        DONE T                     the last of a PUB is sent
//        LAT ID US ID US...         deliveries and their latencies; as many lines as needed, before STAT
//        STAT DELIVERED DUPLICATE   distinct payloads delivered, further copies received, since the last STAT
//        TALK NAME=COUNT...         messages of each type as SENT/RECEIVED, dials, links; bytes of links' frames
//        ERR TEXT                   something that should not happen
#ifndef BENCH_MESH_NODE_H
#define BENCH_MESH_NODE_H

// argv: INDEX COUNT SEED ADDRESS. Runs until stdin ends; the exit status.
int mesh_node_main(int argc, char **argv);

#endif
