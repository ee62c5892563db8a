"""The same transformer's training step in JAX (jit), on the CPU: step_jax.py LAYERS WIDTH HEADS INNER CONTEXT BATCH
THREADS. Otherwise as step_torch.py; it has no say over its threads but the cpus that it may use."""
import os
import sys
import time

LAYERS, WIDTH, HEADS, INNER, CONTEXT, BATCH, THREADS = map(int, sys.argv[1:8])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

VOCAB, HEAD = 256, WIDTH // HEADS
keys = iter(jax.random.split(jax.random.PRNGKey(1), 4 * LAYERS + 1))


def matrix(rows, columns):
    return jax.random.normal(next(keys), (rows, columns)) * 0.02


params = {
    "table": matrix(VOCAB, WIDTH), "norm": jnp.ones(WIDTH),
    "layers": [{"norm1": jnp.ones(WIDTH), "norm2": jnp.ones(WIDTH), "qkv": matrix(3 * WIDTH, WIDTH),
                "out": matrix(WIDTH, WIDTH), "gate_up": matrix(2 * INNER, WIDTH), "down": matrix(WIDTH, INNER)}
               for _ in range(LAYERS)],
}
angle = np.outer(np.arange(CONTEXT), 10000.0 ** (-np.arange(0, HEAD, 2) / HEAD))
COSINES, SINES = jnp.asarray(np.cos(angle), jnp.float32), jnp.asarray(np.sin(angle), jnp.float32)
MASK = jnp.tril(jnp.ones((CONTEXT, CONTEXT), bool))


def norm(x, weight):
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def rotate(x):
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate((a * COSINES - b * SINES, b * COSINES + a * SINES), -1)


def loss_of(params, text):
    x = params["table"][text[:, :-1]]
    for layer in params["layers"]:
        parts = jnp.split(norm(x, layer["norm1"]) @ layer["qkv"].T, 3, -1)
        q, k, v = (p.reshape(BATCH, CONTEXT, HEADS, HEAD).transpose(0, 2, 1, 3) for p in parts)
        scores = rotate(q) @ rotate(k).swapaxes(-1, -2) / np.sqrt(HEAD).astype(np.float32)
        y = jax.nn.softmax(jnp.where(MASK, scores, -jnp.inf), -1) @ v
        x = x + y.transpose(0, 2, 1, 3).reshape(BATCH, CONTEXT, WIDTH) @ layer["out"].T
        gate, up = jnp.split(norm(x, layer["norm2"]) @ layer["gate_up"].T, 2, -1)
        x = x + (jax.nn.silu(gate) * up) @ layer["down"].T
    logits = norm(x, params["norm"]) @ params["table"].T
    return optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]).mean()


optimiser = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(2e-3, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1,
                mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)))
state = optimiser.init(params)


def update(params, state, text):
    loss, grads = jax.value_and_grad(loss_of)(params, text)
    changes, state = optimiser.update(grads, state, params)
    return optax.apply_updates(params, changes), state, loss


update = jax.jit(update, donate_argnums=(0, 1))
random = np.random.default_rng(1)
for line in sys.stdin:
    for _ in range(int(line)):
        began = time.perf_counter()
        params, state, loss = update(params, state, random.integers(0, VOCAB, (BATCH, CONTEXT + 1), np.int32))
        loss.block_until_ready()
        print("TIME", time.perf_counter() - began, flush=True)
