#include "node/settings.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/hash.h"
#include "mesh/charter.h"

void node_failure_set(struct node_failure *why, const char *remedy, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->what, sizeof why->what, format, args);
    va_end(args);
    snprintf(why->remedy, sizeof why->remedy, "%s", remedy);
}

static void take_line(struct settings *s, char *line)
{
    char *equals = strchr(line, '=');
    if (!equals || line[0] == '#') return;
    char *value = equals + 1;
    while (equals > line && isspace((unsigned char)equals[-1])) equals--;
    *equals = 0;
    while (isspace((unsigned char)*value)) value++;
    if (strcmp(line, "name") == 0) snprintf(s->name, sizeof s->name, "%s", value);
    if (strcmp(line, "listen") == 0) snprintf(s->listen, sizeof s->listen, "%s", value);
    if (strcmp(line, "site") == 0) snprintf(s->site, sizeof s->site, "%s", value);
}

enum core_err settings_read(const struct home *h, struct settings *out)
{
    *out = (struct settings){0};
    uint8_t *text;
    size_t size;
    enum core_err err = home_read(h, "settings", 1 << 16, &text, &size);
    if (err) return err;
    char *rest = (char *)text, *line;
    while ((line = strsep(&rest, "\n"))) take_line(out, line);
    free(text);
    bool right = charter_name_valid(out->name) && (!out->site[0] || settings_site_valid(out->site));
    return right ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

enum core_err settings_write(const struct home *h, const struct settings *s)
{
    char text[512];
    int n = snprintf(text, sizeof text, "# mycel: this peer. `mycel up --listen` overrides.\nname = %s\nlisten = %s\n",
                     s->name, s->listen);
    if (s->site[0]) n += snprintf(text + n, sizeof text - (size_t)n, "site = %s\n", s->site);
    return home_write(h, "settings", (struct slice){(const uint8_t *)text, (size_t)n});
}

enum core_err settings_listen(const char *text, const char *fallback, struct address *out)
{
    if (!text) text = fallback;
    char full[ADDRESS_TEXT_MAX + 16];
    bool port_only = *text && strspn(text, "0123456789") == strlen(text);
    if (!*text)
        snprintf(full, sizeof full, "0.0.0.0:%d", NODE_PORT);
    else if (port_only)
        snprintf(full, sizeof full, "0.0.0.0:%.32s", text);
    else if (*text == ':')
        snprintf(full, sizeof full, "0.0.0.0%.32s", text);
    else
        snprintf(full, sizeof full, "%.150s", text);
    return address_parse(full, out);
}

void settings_host_name(char out[64])
{
    struct utsname u;
    snprintf(out, 64, "%.60s", uname(&u) == 0 ? u.nodename : "peer");
    char *dot = strchr(out, '.');
    if (dot) *dot = 0;
    for (char *p = out; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_') *p = '-';
    if (!charter_name_valid(out)) snprintf(out, 64, "peer");
}

bool settings_site_valid(const char *site)
{
    return strlen(site) <= GOSSIP_SITE_MAX && charter_name_valid(site);
}

static void read_line(const char *path, char *out, int size)
{
    FILE *f = fopen(path, "re");
    if (!f || !fgets(out, size, f)) out[0] = 0;
    if (f) fclose(f);
}

struct core_hash settings_host_hash(void)
{
    char id[128], text[512];
    read_line("/proc/sys/kernel/random/boot_id", id, sizeof id);
    if (!id[0]) read_line("/etc/machine-id", id, sizeof id);
    struct utsname u;
    if (!id[0] && uname(&u) == 0) snprintf(id, sizeof id, "%.64s", u.nodename);
    struct stat net = {0};
    if (stat("/proc/self/ns/net", &net)) net.st_ino = 0;
    snprintf(text, sizeof text, "mycel host v2 %s %lu", id, (unsigned long)net.st_ino);
    return hash_bytes(text, strlen(text));
}
