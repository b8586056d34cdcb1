//! What gVisor's runsc is told that runc and crun need not be told.
//!
//! A guest's system calls are answered by gVisor's own kernel, a process of the machine in the session's user namespace. Its
//! network is the one exception: sockets are the machine's, in the network namespace of the container, which has nothing
//! but a loopback. So ways in and out are the same as with the other runtimes.

/// Before every command. Defaults that the walls stand on are said aloud.
pub(super) const FLAGS: [&str; 9] = [
    // The other platforms need a debugger's rights or a virtual machine.
    "--platform=systrap",
    // The machine's network stack, in the container's own namespace.
    "--network=host",
    "--net-raw=false",
    // What is written goes to the layer that we make, which has a limit; not to a file of gVisor's beside it.
    "--overlay2=none",
    // Nobody else writes to it.
    "--file-access=exclusive",
    "--host-uds=none",
    "--host-fifo=none",
    // Nothing that an image or a pool says may change these.
    "--allow-flag-override=false",
    "--ignore-cgroups=false",
];

/// Threads of the machine that gVisor has for itself, whatever its guest does.
const OWN_THREADS: u32 = 256;

/// The most threads of the machine for guests with so many processes and threads.
pub(super) fn threads(pids: u32) -> u32 {
    pids.saturating_mul(4).saturating_add(OWN_THREADS)
}
