"""The same transformer's training step in PyTorch, on the CPU: step_torch.py LAYERS WIDTH HEADS INNER CONTEXT BATCH
THREADS eager|compiled. Shapes, gated feed-forward, norms, rotary positions, tied head, clipping and AdamW are ours
(learn/model.h); attention is its fused one. For each line "N" on stdin: N steps, "TIME SECONDS" for each."""
import sys
import time

import torch
import torch.nn.functional as F

LAYERS, WIDTH, HEADS, INNER, CONTEXT, BATCH, THREADS = map(int, sys.argv[1:8])
VOCAB, HEAD = 256, WIDTH // HEADS
torch.set_num_threads(THREADS)
torch.manual_seed(1)


def matrix(rows, columns):
    return torch.nn.Parameter(torch.randn(rows, columns) * 0.02)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = matrix(VOCAB, WIDTH)
        self.norms = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(WIDTH)) for _ in range(2 * LAYERS + 1)])
        self.matrices = torch.nn.ParameterList(
            [matrix(*shape) for _ in range(LAYERS)
             for shape in ((3 * WIDTH, WIDTH), (WIDTH, WIDTH), (2 * INNER, WIDTH), (WIDTH, INNER))])
        angle = torch.outer(torch.arange(CONTEXT), 10000.0 ** (-torch.arange(0, HEAD, 2) / HEAD))
        self.register_buffer("cosines", torch.cos(angle))
        self.register_buffer("sines", torch.sin(angle))

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * self.cosines - b * self.sines, b * self.cosines + a * self.sines), -1)

    def forward(self, tokens, targets):
        x = F.embedding(tokens, self.table)
        for layer in range(LAYERS):
            qkv, out, gate_up, down = self.matrices[4 * layer:4 * layer + 4]
            parts = F.linear(F.rms_norm(x, (WIDTH,), self.norms[2 * layer], 1e-5), qkv)
            q, k, v = (p.view(BATCH, CONTEXT, HEADS, HEAD).transpose(1, 2) for p in parts.chunk(3, -1))
            y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH), out)
            gate, up = F.linear(F.rms_norm(x, (WIDTH,), self.norms[2 * layer + 1], 1e-5), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        logits = F.linear(F.rms_norm(x, (WIDTH,), self.norms[-1], 1e-5), self.table)
        return F.cross_entropy(logits.view(-1, VOCAB), targets.view(-1))


model = Model()
decays = [p for p in model.parameters() if p.dim() > 1]
rest = [p for p in model.parameters() if p.dim() == 1]
optimiser = torch.optim.AdamW([{"params": decays, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                              lr=2e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
forward = torch.compile(model) if sys.argv[8] == "compiled" else model


def step():
    text = torch.randint(0, VOCAB, (BATCH, CONTEXT + 1))
    loss = forward(text[:, :-1].contiguous(), text[:, 1:].contiguous())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


for line in sys.stdin:
    for _ in range(int(line)):
        began = time.perf_counter()
        step()
        print("TIME", time.perf_counter() - began, flush=True)
