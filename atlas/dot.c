#include "atlas/dot.h"

#include <inttypes.h>

static const char *const colors[ATLAS_STATES] = {"#1a8f4c", "#c98a00", "#c5303a", "#8d9aa8"};

// A text between quotes: labels hold printable ASCII only.
static void quoted(FILE *out, const char *text)
{
    char label[ATLAS_LABEL_MAX + 1];
    atlas_label(label, text, ATLAS_LABEL_MAX);
    fputc('"', out);
    for (const char *p = label; *p; p++) {
        if (*p == '"' || *p == '\\') fputc('\\', out);
        fputc(*p, out);
    }
    fputc('"', out);
}

static void node(const struct atlas_snapshot *s, const struct atlas_layout *l, uint32_t i, FILE *out)
{
    const struct atlas_peer *p = &s->peers[i];
    fprintf(out, "p%" PRIu32 " [label=", i);
    quoted(out, p->name);
    // Graphviz counts upwards.
    fprintf(out, ", color=\"%s\"%s, pos=\"%ld,%ld\"];\n", colors[p->state],
            p->self       ? ", penwidth=3"
            : p->answered ? ""
                          : ", style=dashed",
            (long)l->peers[i].x, (long)(l->height - l->peers[i].y));
}

static void hosts(const struct atlas_snapshot *s, const struct atlas_layout *l, const struct atlas_box *site, FILE *out)
{
    for (uint32_t h = site->first_host; h < site->first_host + site->hosts; h++) {
        const struct atlas_box *host = &l->hosts[h];
        if (host->count > 1) fprintf(out, "subgraph cluster_host%" PRIu32 " { label=\"\"; style=rounded;\n", h);
        for (uint32_t i = host->first; i < host->first + host->count; i++) node(s, l, i, out);
        if (host->count > 1) fputs("}\n", out);
    }
}

void atlas_dot_write(const struct atlas_snapshot *s, const struct atlas_layout *l, FILE *out)
{
    fputs("graph mesh {\nlabel=", out);
    quoted(out, s->mesh);
    fputs(";\nnode [shape=box, style=rounded, fontname=\"monospace\", fontsize=10];\n", out);
    for (uint32_t i = 0; i < l->site_count; i++) {
        const struct atlas_box *site = &l->sites[i];
        if (site->drawn) {
            fprintf(out, "subgraph cluster_site%" PRIu32 " { label=", i);
            quoted(out, s->peers[site->first].site);
            fputs("; bgcolor=\"#f3f5f8\";\n", out);
        }
        hosts(s, l, site, out);
        if (site->drawn) fputs("}\n", out);
    }
    for (uint32_t i = 0; i < s->link_count; i++) {
        const struct atlas_link *k = &s->links[i];
        fprintf(out, "p%" PRIu32 " -- p%" PRIu32, k->a, k->b);
        if (k->rtt_us)
            fprintf(out, " [label=\"%" PRIu64 ".%" PRIu64 " ms\", fontsize=8]", k->rtt_us / 1000, k->rtt_us / 100 % 10);
        fputs(";\n", out);
    }
    fputs("}\n", out);
}
