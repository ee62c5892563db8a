// What the command table calls: one function a row, each giving the exit status of the command line.
#ifndef TOOLS_VERBS_H
#define TOOLS_VERBS_H

#include "tools/call.h"

int command_init(struct call *call);
int command_up(struct call *call);
int command_join(struct call *call);
int command_leave(struct call *call);
int command_down(struct call *call);
int command_invite(struct call *call);
int command_invite_ls(struct call *call);
int command_invite_revoke(struct call *call);
int command_status(struct call *call);
int command_doctor(struct call *call);
int command_peers(struct call *call);
int command_hw(struct call *call);
int command_ping(struct call *call);
int command_map(struct call *call);
int command_trace(struct call *call);
int command_top(struct call *call);
int command_train(struct call *call);
int command_runs(struct call *call);
int command_runs_show(struct call *call);
int command_runs_verify(struct call *call);
int command_runs_watch(struct call *call);
int command_runs_pause(struct call *call);
int command_runs_resume(struct call *call);
int command_runs_cancel(struct call *call);
int command_generate(struct call *call);
int command_lab_up(struct call *call);
int command_lab_down(struct call *call);
int command_lab_status(struct call *call);
int command_lab_run(struct call *call);
int command_lab_restart(struct call *call);
int command_lab_kill(struct call *call);
int command_lab_stop(struct call *call);
int command_lab_cont(struct call *call);
int command_lab_split(struct call *call);
int command_lab_heal(struct call *call);
int command_hosts_up(struct call *call);
int command_hosts_down(struct call *call);
int command_hosts_list(struct call *call);
int command_hosts_cut(struct call *call);
int command_hosts_heal(struct call *call);
int command_hosts_delay(struct call *call);
int command_hosts_rate(struct call *call);
int command_hosts_loss(struct call *call);
int command_hosts_exec(struct call *call);
int command_sim(struct call *call);
int command_bench(struct call *call);
int command_conf(struct call *call);
int command_version(struct call *call);
int command_completion(struct call *call);
int command_help(struct call *call);

#endif
