// What the command table calls: one function a row, each giving the exit status of the command line.
#ifndef TOOLS_VERBS_H
#define TOOLS_VERBS_H

#include "tools/call.h"

int verb_init(struct call *call);
int verb_up(struct call *call);
int verb_join(struct call *call);
int verb_leave(struct call *call);
int verb_down(struct call *call);
int verb_invite(struct call *call);
int verb_invite_ls(struct call *call);
int verb_invite_revoke(struct call *call);
int verb_status(struct call *call);
int verb_peers(struct call *call);
int verb_ping(struct call *call);
int verb_train(struct call *call);
int verb_runs(struct call *call);
int verb_runs_show(struct call *call);
int verb_runs_verify(struct call *call);
int verb_runs_watch(struct call *call);
int verb_runs_pause(struct call *call);
int verb_runs_resume(struct call *call);
int verb_runs_cancel(struct call *call);
int verb_generate(struct call *call);
int verb_lab_up(struct call *call);
int verb_lab_down(struct call *call);
int verb_lab_status(struct call *call);
int verb_lab_run(struct call *call);
int verb_sim(struct call *call);
int verb_bench(struct call *call);
int verb_version(struct call *call);
int verb_help(struct call *call);

#endif
