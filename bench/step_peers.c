#include "bench/step_peers.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/peers.h"
#include "core/check.h"

static const struct {
    const char *name, *environment, *script, *mode;
} peers[STEP_PEERS] = {
    {"PyTorch eager", "torch", "step_torch.py", "eager"},
    {"PyTorch compiled", "torch", "step_torch.py", "compiled"},
    {"JAX", "jax", "step_jax.py", "jit"},
};

enum { NUMBERS = 7, NUMBER_SIZE = 16 };

// In the child: our pipes as its input and output, all cpus, its complaints in the log.
static void become(char *const argv[], int in, int out, const char *log)
{
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);  // this thread was bound to one
    int complaints = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || (complaints >= 0 && dup2(complaints, 2) < 0)) _exit(127);
    execv(argv[0], argv);
    _exit(127);
}

bool step_peer_open(struct step_peer *peer, uint32_t which, const struct model_config *config, uint32_t threads,
                    char why[STEP_WHY_SIZE])
{
    char folder[PEERS_PATH_MAX], python[PEERS_PATH_MAX + 64], log[PEERS_PATH_MAX + 64], script[PEERS_PATH_MAX];
    char numbers[NUMBERS][NUMBER_SIZE];
    check(which < STEP_PEERS);
    *peer = (struct step_peer){.name = peers[which].name};
    peers_folder(folder);
    snprintf(python, sizeof python, "%s/%s/bin/python", folder, peers[which].environment);
    snprintf(log, sizeof log, "%s/step.log", folder);
    if (access(python, X_OK) || !peers_script(peers[which].script, script)) {
        snprintf(why, STEP_WHY_SIZE, "%s is left out: not installed (bench/peers/compute.sh)", peer->name);
        return false;
    }
    const uint32_t values[NUMBERS] = {config->layers,  config->width, config->heads, config->inner,
                                      config->context, config->batch, threads};
    char *argv[NUMBERS + 4] = {python, script};
    for (uint32_t i = 0; i < NUMBERS; i++) {
        snprintf(numbers[i], NUMBER_SIZE, "%u", values[i]);
        argv[2 + i] = numbers[i];
    }
    char mode[16];
    snprintf(mode, sizeof mode, "%s", peers[which].mode);
    argv[2 + NUMBERS] = mode;
    int in[2], out[2];
    fflush(stdout);
    check(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    signal(SIGPIPE, SIG_IGN);  // one that ended is found by its silence
    peer->pid = fork();
    if (peer->pid == 0) become(argv, in[0], out[1], log);
    close(in[0]);
    close(out[1]);
    peer->to = fdopen(in[1], "w");
    peer->from = fdopen(out[0], "r");
    check(peer->pid > 0 && peer->to && peer->from);
    return true;
}

bool step_peer_run(struct step_peer *peer, uint32_t steps, double *seconds)
{
    char line[128];
    if (fprintf(peer->to, "%u\n", steps) < 0 || fflush(peer->to)) return false;
    for (uint32_t i = 0; i < steps;) {
        if (!fgets(line, sizeof line, peer->from)) return false;
        if (sscanf(line, "TIME %lf", &seconds[i]) == 1) i++;
    }
    return true;
}

void step_peer_close(struct step_peer *peer)
{
    if (peer->pid <= 0) return;
    fclose(peer->to);  // the end of its input is the end of it
    fclose(peer->from);
    (void)waitpid(peer->pid, NULL, 0);
    *peer = (struct step_peer){0};
}
