"""PCCL's all-reduce (average) on loopback: pccl_allreduce.py PROCESSES ELEMENTS ROUNDS none|quantised. Two rounds that
don't count, then "TIME SECONDS" for each: the slowest process's."""
import multiprocessing as mp
import sys
import time

import numpy as np
import pccl

PORT = 48148


def master(ready):
    node = pccl.MasterNode(f"127.0.0.1:{PORT}")
    node.run()
    ready.set()
    while True:
        time.sleep(60)


def work(rank, size, elements, rounds, quantised, times, barrier):
    communicator = pccl.Communicator(f"127.0.0.1:{PORT}", 0)
    communicator.connect(n_attempts=20)
    while communicator.get_attribute(pccl.Attribute.GLOBAL_WORLD_SIZE) < size:
        if communicator.are_peers_pending():
            communicator.update_topology()
        time.sleep(0.05)
    given = np.full(elements, rank + 1, np.float32)
    mean = np.zeros(elements, np.float32)
    extra = {}
    if quantised:
        extra["quantization_options"] = pccl.QuantizationOptions(pccl.DataType.UINT8, pccl.QuantizationAlgorithm.MIN_MAX)
    operand = pccl.ReduceOperandDescriptor(datatype=pccl.DataType.FLOAT)
    for round in range(-2, rounds):
        barrier.wait()
        began = time.monotonic()
        communicator.all_reduce(given, mean, operand_descriptor=operand, op=pccl.ReduceOp.AVG, tag=0, **extra)
        ended = time.monotonic()
        if not quantised:
            assert abs(mean[-1] - (size + 1) / 2) < 1e-5, mean[-1]
        times.put((round, began, ended))
    barrier.wait()


def main():
    size, elements, rounds = (int(word) for word in sys.argv[1:4])
    times, ready, barrier = mp.Queue(), mp.Event(), mp.Barrier(size)
    node = mp.Process(target=master, args=(ready,), daemon=True)
    node.start()
    ready.wait(10)
    processes = [
        mp.Process(target=work, args=(i, size, elements, rounds, sys.argv[4] == "quantised", times, barrier), daemon=True)
        for i in range(size)]
    for p in processes:
        p.start()
    took = {}
    for _ in range(size * (rounds + 2)):
        round, began, ended = times.get(timeout=170)
        first, last = took.get(round, (began, ended))
        took[round] = min(first, began), max(last, ended)
    for round in range(rounds):
        print(f"TIME {took[round][1] - took[round][0]:.9f}")
    sys.stdout.flush()
    node.kill()
    for p in processes:
        p.kill()


main()
