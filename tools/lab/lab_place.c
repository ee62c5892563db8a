#include "tools/lab/lab_place.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "node/node.h"
#include "tools/lab/lab.h"

static FILE *open_file(const char *home, const char *mode)
{
    char path[HOME_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/lab", home);
    if (mode[0] == 'w' && home_create(path)) return NULL;
    snprintf(path, sizeof path, "%s/lab/hosts", home);
    return fopen(path, mode);
}

void lab_place_read(struct lab_place *place, const char *home)
{
    *place = (struct lab_place){.tag = ""};
    unsigned long long rate = 0;
    FILE *file = open_file(home, "re");
    if (!file) return;
    struct hosts_options *o = &place->hosts;
    if (fscanf(file, "tag %20s hosts %u rate %llu delay %u loss %u", place->tag, &o->count, &rate, &o->delay_us,
               &o->loss_millionth) != 5 ||
        !hosts_tag_valid(place->tag) || o->count > HOSTS_MAX)
        *place = (struct lab_place){.tag = ""};
    o->rate_bits = rate;
    fclose(file);
}

static bool keep(const struct lab_place *place, const char *home)
{
    FILE *file = open_file(home, "we");
    if (!file) return false;
    const struct hosts_options *o = &place->hosts;
    fprintf(file, "tag %s\nhosts %u\nrate %llu\ndelay %u\nloss %u\n", place->tag, o->count,
            (unsigned long long)o->rate_bits, o->delay_us, o->loss_millionth);
    return fclose(file) == 0;
}

int lab_place_make(struct lab_place *place, const struct call *call, unsigned peers)
{
    const struct args *args = &call->args;
    char why[HOSTS_WHY_SIZE] = "";
    lab_place_read(place, call->home);
    unsigned wanted = (unsigned)args_number(args, "hosts", place->hosts.count);
    bool limits = args_has(args, "rate") || args_has(args, "delay") || args_has(args, "loss");
    if (wanted > HOSTS_MAX)
        snprintf(why, sizeof why, "--hosts %u is above %d", wanted, HOSTS_MAX);
    else if (peers > 0 && wanted != place->hosts.count)
        snprintf(why, sizeof why,
                 "the lab in %.200s/lab lies on %u hosts, and that stays so; for another, 'mycel lab down' and remove "
                 "the folder, or take another --home",
                 call->home, place->hosts.count);
    else if (limits && wanted == 0)
        snprintf(why, sizeof why, "--rate, --delay and --loss belong to hosts; add --hosts H");
    if (why[0]) return hosts_failed(call, CORE_ERR_USAGE, why);
    if (wanted == 0) return 0;
    if (!place->tag[0] || args_has(args, "tag")) hosts_tag_of(call, place->tag);
    if (limits || place->hosts.count == 0) place->hosts = hosts_limits_of(call, wanted);
    enum core_err err = CORE_ERR_OK;
    if (limits || hosts_count(place->tag) < wanted) err = hosts_up(place->tag, &place->hosts, why);
    if (!err && !keep(place, call->home)) {
        snprintf(why, sizeof why, "cannot write %.200s/lab/hosts: %s", call->home, strerror(errno));
        err = CORE_ERR_IO;
    }
    return hosts_failed(call, err, why);
}

unsigned lab_place_host(const struct lab_place *place, unsigned number)
{
    return place->hosts.count ? (number - 1) % place->hosts.count + 1 : 0;
}

int lab_place_network(const struct lab_place *place, unsigned number)
{
    return place->hosts.count ? hosts_open(place->tag, lab_place_host(place, number)) : -1;
}

char *lab_place_listen(char out[LAB_ADDRESS_SIZE], const struct lab_place *place, unsigned number)
{
    char address[HOSTS_ADDRESS_SIZE];
    if (place->hosts.count == 0)
        snprintf(out, LAB_ADDRESS_SIZE, "127.0.0.1:%u", lab_free_port());
    else
        snprintf(out, LAB_ADDRESS_SIZE, "%s:%u", hosts_address_now(address, place->tag, lab_place_host(place, number)),
                 NODE_PORT + (number - 1) / place->hosts.count);
    return out;
}
