// What counting alone reaches on a text: losses of interpolated unigram, bigram and trigram models over bytes with
// Witten-Bell smoothing (Witten and Bell, 1991, method C), to print beside a trained model's. Any thread.
#ifndef LEARN_NGRAM_H
#define LEARN_NGRAM_H

#include "learn/data.h"

struct ngram_losses {
    double unigram, bigram, trigram;  // nats a byte on the held-out part
};

// Counts the training part, scores the held-out part. Takes up to 66 MiB while it runs. NO_MEMORY, or TOO_SHORT for a
// part under 3 bytes.
CORE_MUST_USE enum core_err ngram_measure(const struct dataset *data, struct ngram_losses *losses);

#endif
