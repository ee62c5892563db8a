"""Gloo's ring all-reduce over TCP on loopback, as the package xoscar ships it: gloo_allreduce.py PROCESSES ELEMENTS
ROUNDS. Two rounds that don't count, then "TIME SECONDS" for each: the slowest process's."""
import multiprocessing as mp
import socket
import sys
import time

import numpy as np
import xoscar.collective.xoscar_pygloo as gloo


def work(rank, size, elements, rounds, port, times):
    options = gloo.rendezvous.TCPStoreOptions()
    options.port, options.numWorkers, options.isServer = port, size, rank == 0
    store = gloo.rendezvous.TCPStore("127.0.0.1", options)
    device = gloo.transport.tcp.CreateDevice(gloo.transport.tcp.attr("127.0.0.1"))
    context = gloo.rendezvous.Context(rank, size)
    context.connectFullMesh(gloo.rendezvous.PrefixStore("bench", store), device)
    given = np.full(elements, rank + 1, np.float32)
    mean = np.zeros(elements, np.float32)
    for round in range(-2, rounds):
        gloo.barrier(context)
        began = time.monotonic()
        gloo.allreduce(context, given.ctypes.data, mean.ctypes.data, elements, gloo.GlooDataType_t.glooFloat32,
                       gloo.ReduceOp.SUM, gloo.AllreduceAlgorithm.RING)
        mean *= np.float32(1 / size)
        ended = time.monotonic()
        assert mean[-1] == (size + 1) / 2
        times.put((round, began, ended))
    gloo.barrier(context)


def main():
    size, elements, rounds = (int(word) for word in sys.argv[1:4])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    times = mp.Queue()
    processes = [mp.Process(target=work, args=(i, size, elements, rounds, port, times)) for i in range(size)]
    for p in processes:
        p.start()
    took = {}
    for _ in range(size * (rounds + 2)):
        round, began, ended = times.get(timeout=170)
        first, last = took.get(round, (began, ended))
        took[round] = min(first, began), max(last, ended)
    for p in processes:
        p.join()
    for round in range(rounds):
        print(f"TIME {took[round][1] - took[round][0]:.9f}")


main()
