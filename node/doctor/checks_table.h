// Every trouble that `mycel doctor` knows, on one page: what it says and what to do. `status` takes its health lines
// from here too, and docs/troubles.md is printed from it. In a text {word} stands for what was found.
#ifndef NODE_DOCTOR_CHECKS_TABLE_H
#define NODE_DOCTOR_CHECKS_TABLE_H

// X(NAME, what a person calls it): in the order in which they are looked at and told.
#define CHECKS(X)                 \
    X(HOME, "home")               \
    X(KEY, "key")                 \
    X(CERTIFICATE, "certificate") \
    X(DAEMON, "daemon")           \
    X(PORT, "port")               \
    X(ADDRESS, "address")         \
    X(CLOCK, "clock")             \
    X(MESH, "mesh")               \
    X(RUNS, "runs")               \
    X(DISK, "disk")               \
    X(LIMITS, "limits")           \
    X(DEVICES, "devices")

// X(NAME, its name in JSON, check, state, cause, remedy). FAIL: something does not work; WARN: it works for now.
#define TROUBLES(X)                                                                                                    \
    X(HOME_NONE, "home-none", HOME, WARN, "no peer lives in {home}",                                                   \
      "`mycel init NAME` starts a mesh, `mycel join TOKEN` joins one")                                                 \
    X(HOME_CLOSED, "home-closed", HOME, FAIL, "the home {home} cannot be used: {why}",                                 \
      "look at it with `ls -ld {home}`: it must belong to the user who runs mycel, on a disk that can be written")     \
    X(HOME_OPEN, "home-open", HOME, WARN, "others may write to the home {home} (mode {mode})", "`chmod 700 {home}`")   \
    X(HOME_DAMAGED, "home-damaged", HOME, FAIL, "{file} in {home} is damaged: {why}",                                  \
      "restore it from a copy, or ask for an invitation and join anew in another home")                                \
    X(CONF_WRONG, "conf-wrong", HOME, FAIL, "mycel.conf cannot be taken: {why}",                                       \
      "correct it, or the peer does not start; `mycel conf` shows what holds")                                         \
    X(KEY_OPEN, "key-open", KEY, FAIL, "the key {home}/key can be read by others, or is not yours (mode {mode})",      \
      "`chmod 600 {home}/key`, if nobody else can have read it; otherwise join anew in another home")                  \
    X(CERTIFICATE_EXPIRED, "certificate-expired", CERTIFICATE, FAIL, "its certificate expired {ago} ago",              \
      "check the clock with `date`; if it is right, ask a member for `mycel invite` and join anew in another home")    \
    X(CERTIFICATE_EXPIRING, "certificate-expiring", CERTIFICATE, WARN, "its certificate expires in {in}",              \
      "ask a member for `mycel invite` in time, and join anew in another home")                                        \
    X(CERTIFICATE_REVOKED, "certificate-revoked", CERTIFICATE, FAIL, "its certificate was revoked ({who} says so)",    \
      "ask a founder of the mesh why; to come back, join anew in another home")                                        \
    X(CERTIFICATE_DISPUTED, "certificate-disputed", CERTIFICATE, FAIL, "{who} says that its certificate has expired",  \
      "compare the clocks (`date -u` on both); if that is right, join anew in another home with a new token")          \
    X(CERTIFICATE_OTHER, "certificate-other", CERTIFICATE, FAIL, "its certificate is no good here: {why}",             \
      "the key, charter and certificate of {home} must be of one peer: restore all three from one copy")               \
    X(DAEMON_NONE, "daemon-none", DAEMON, WARN, "no daemon runs in {home}", "`mycel up --detach` starts it")           \
    X(DAEMON_STOPPED, "daemon-stopped", DAEMON, FAIL, "the daemon (process {pid}) is stopped", "`kill -CONT {pid}`")   \
    X(DAEMON_SILENT, "daemon-silent", DAEMON, FAIL, "the daemon (process {pid}) did not answer within 1 s ({doing})",  \
      "wait a little and ask again; if it stays so, `kill {pid}` and `mycel up --detach`; {home}/log tells its last")  \
    X(DAEMON_APART, "daemon-apart", DAEMON, FAIL, "a daemon (process {pid}) runs there, but its socket is not {path}", \
      "give this command the XDG_RUNTIME_DIR that the daemon was started with")                                        \
    X(PORT_IN_USE, "port-in-use", PORT, FAIL, "port {port} is in use by {who}",                                        \
      "stop what listens there, or `mycel up --listen HOST:PORT` with another one")                                    \
    X(PORT_NOT_HERE, "port-not-here", PORT, FAIL, "it shall listen on {listen}, which is no address of this machine",  \
      "`mycel up --listen 0.0.0.0:PORT`, or with an address that `ip address` shows")                                  \
    X(PORT_FORBIDDEN, "port-forbidden", PORT, FAIL, "it may not listen on {listen}: {why}",                            \
      "`mycel up --listen HOST:PORT` with a port from 1024 on")                                                        \
    X(PORT_CLOSED, "port-closed", PORT, FAIL, "port {port} does not answer, even on this machine: {why}",              \
      "open it in this machine's firewall (`nft list ruleset`), or `mycel down` and `mycel up --detach`")              \
    X(ADDRESS_CLOSED, "address-closed", ADDRESS, WARN,                                                                 \
      "no peer that was asked reaches this one at {addresses}: {why}",                                                 \
      "open TCP port {port} in firewalls and in the router (`mycel up --map-port` asks it), or --advertise HOST:PORT") \
    X(GATEWAY_REFUSES, "gateway-refuses", ADDRESS, WARN, "the gateway gives no port (--map-port): {why}",              \
      "forward TCP port {port} in the router by hand, or `mycel up` without --map-port")                               \
    X(CLOCK_OFF, "clock-off", CLOCK, FAIL, "this machine's clock is {offset} those of {count} peers",                  \
      "set it: `timedatectl set-ntp true`, or `date -s`; certificates and tokens are judged by it")                    \
    X(CLOCK_DIFFERS, "clock-differs", CLOCK, FAIL, "this machine's clock is {offset} the one of {who}",                \
      "see which of the two is wrong (`date -u`), and set it: `timedatectl set-ntp true`")                             \
    X(CLOCK_PEER, "clock-peer", CLOCK, WARN, "its clock is {offset} this machine's, with which {count} more agree",    \
      "set it there: `timedatectl set-ntp true`, or `date -s`")                                                        \
    X(CLOCK_BEHIND, "clock-behind", CLOCK, FAIL,                                                                       \
      "this machine's clock is at least {offset} behind: {what} was made later",                                       \
      "set it: `timedatectl set-ntp true`, or `date -s`")                                                              \
    X(MESH_WRONG, "mesh-wrong", MESH, FAIL, "{who} at {address} is of another mesh than this home",                    \
      "join the mesh that is meant in another home: `mycel --home DIR join TOKEN`")                                    \
    X(MESH_STRANGER, "mesh-stranger", MESH, FAIL,                                                                      \
      "at {address} not {who} answers, but another key: a peer of another mesh, or no peer at all",                    \
      "ask for {who}'s address of today; where its mesh was founded anew, join that with a new token and --home")      \
    X(MESH_NOBODY, "mesh-nobody", MESH, FAIL, "no member of the mesh has answered yet",                                \
      "check that the sponsor runs and its port is open to this machine")                                              \
    X(MESH_SPLIT, "mesh-split", MESH, FAIL,                                                                            \
      "{count} of {known} peers were lost within {span} ({names}), {ago} ago{where}",                                  \
      "check the network between here and them: both sides go on trying, and the mesh heals by itself")                \
    X(MEMBER_EXPIRED, "member-expired", MESH, WARN,                                                                    \
      "its certificate has expired, by this machine's clock: it is shut out",                                          \
      "compare the clocks (`date -u` on both); if that is right, it joins anew with a new token: `mycel invite`")      \
    X(MEMBER_DEAD, "member-dead", MESH, WARN, "dead for {time}: nobody reaches it",                                    \
      "start it again with `mycel up` there, or check its network")                                                    \
    X(MEMBER_SUSPECT, "member-suspect", MESH, WARN, "suspect for {time}: it has not answered lately",                  \
      "wait some seconds")                                                                                             \
    X(RUN_STALLED, "run-stalled", RUNS, FAIL, "run {run} waits for it: it {cause}", "{remedy}")                        \
    X(DISK_FULL, "disk-full", DISK, FAIL, "its disk is full: {free} free of {size} where {home} lies",                 \
      "free some space there; a peer without room for its votes does not vote, and resumes by itself")                 \
    X(DISK_REFUSES, "disk-refuses", DISK, FAIL, "its disk refuses writes ({why}): it does not vote",                   \
      "free some space where its home lies; it resumes by itself")                                                     \
    X(DISK_LOW, "disk-low", DISK, WARN, "its disk is nearly full: {free} free of {size} where {home} lies",            \
      "free some space there: a round keeps parameters, moments and updates")                                          \
    X(LIMIT_FILES, "limit-files", LIMITS, WARN,                                                                        \
      "only {have} open files are allowed, {want} are needed for many peers",                                          \
      "`ulimit -n {want}` before `mycel up`, or LimitNOFILE={want} in the service")                                    \
    X(LIMIT_LOCKED, "limit-locked", LIMITS, WARN,                                                                      \
      "only {have} of locked memory are allowed; GPU drivers may want {want}",                                         \
      "`ulimit -l unlimited` before `mycel up`, or LimitMEMLOCK=infinity in the service")                              \
    X(LIMIT_MEMORY, "limit-memory", LIMITS, WARN, "its control group allows {have} of memory, a peer wants {want}",    \
      "raise the limit: MemoryMax= in the service, --memory of the container")                                         \
    X(LIMIT_CPUS, "limit-cpus", LIMITS, WARN, "only {have} of {size} cpus may be used here",                           \
      "widen what it is bound to: AllowedCPUs= and CPUQuota= in the service, --cpus of the container, taskset")        \
    X(DEVICE_LOST, "device-lost", DEVICES, FAIL, "its device {device} is lost: {why}; the others do its work",         \
      "look at `dmesg`; it is tried again {when}, or at once by `mycel hw --measure`")                                 \
    X(DRIVER_BROKEN, "driver-broken", DEVICES, FAIL, "the GPU {device} cannot be used: {why}",                         \
      "look at `dmesg` and reinstall the vendor's driver; until then the CPU does the work (`mycel hw` lists "         \
      "devices)")                                                                                                      \
    X(DRIVER_MISSING, "driver-missing", DEVICES, WARN, "{device} is in this machine, but no driver for it is",         \
      "install the vendor's driver, or leave it: the CPU does the work")                                               \
    X(DRIVER_SILENT, "driver-silent", DEVICES, FAIL, "the GPU driver did not answer within {time}",                    \
      "look at `dmesg` and restart the machine; `mycel up --gpus none` runs the peer without it")

#endif
