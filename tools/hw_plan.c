// hw --topology: what a described machine is, and what each of so many peers on it would use.
#include "node/compute/hw.h"

#include "tools/client.h"
#include "tools/hw.h"
#include "tools/verbs.h"

static void print_plan(const struct output *out, const json_t *peers)
{
    static const struct table_column columns[] = {
        {"PEER", true, 0}, {"LANE", false, 14}, {"THREADS", true, 0}, {"CPUS", false, 30}, {"NODES", false, 12}};
    struct table table;
    size_t i, k, n;
    json_t *peer, *lane, *node;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    json_array_foreach((json_t *)peers, i, peer)
    {
        json_array_foreach(json_object_get(peer, "lanes"), k, lane)
        {
            char nodes[64] = "";
            size_t used = 0;
            json_array_foreach(json_object_get(lane, "nodes"), n, node)
            {
                if (used < sizeof nodes - 24)
                    used += (size_t)snprintf(nodes + used, sizeof nodes - used, "%s%lld", n ? "," : "",
                                             (long long)json_integer_value(node));
            }
            const char *cpus = field_text(lane, "cpus", "");
            table_add(&table, TINT_BOLD, "%.0f", field_number(peer, "index", 0));
            table_add(&table, TINT_NONE, "%s", field_text(lane, "device", ""));
            table_add(&table, TINT_NONE, "%.0f", field_number(lane, "threads", 0));
            table_add(&table, TINT_NONE, "%s", cpus[0] ? cpus : "any");
            table_add(&table, TINT_NONE, "%s", nodes[0] ? nodes : "any");
        }
        const char *services = field_text(peer, "services", "");
        table_add(&table, TINT_BOLD, "%.0f", field_number(peer, "index", 0));
        table_add(&table, TINT_DIM, "services");
        table_add(&table, TINT_NONE, "%s", "");
        table_add(&table, TINT_NONE, "%s", services[0] ? services : "any");
        table_add(&table, TINT_NONE, "%s", "");
    }
    printf("\n");
    table_print(&table, out);
}

int command_hw_plan(struct call *call)
{
    struct node_failure why = {0};
    json_t *plan = NULL;
    enum core_err err =
        node_hw_plan(args_text(&call->args, "topology", ""), args_number(&call->args, "peers", 1), &plan, &why);
    if (err) {
        output_error(&call->out, core_error_name(err), "%s; %s", why.what, why.remedy);
        // Whatever is wrong with the file: 4, as for every file that a command is given.
        return err == CORE_ERR_USAGE || err == CORE_ERR_NO_MEMORY ? core_error_exit(err) : 4;
    }
    if (call->out.json) {
        output_json(plan);
        return 0;
    }
    hw_print_machine(json_object_get(plan, "machine"));
    print_plan(&call->out, json_object_get(plan, "peers"));
    json_decref(plan);
    return 0;
}
