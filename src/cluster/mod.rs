//! Several processes as one dataflow: timely's own cluster mode, with the sockets made here.
//!
//! Every process is started with the same file of [hosts] and its own number. They [join] each other, see that all are to compute the same,
//! and hand the sockets to timely. Whoever is [lost] afterwards ends all of them: timely is fail-stop, and all are
//! started again (they go on from their journals, if they keep any). Sockets are ours, and not made by timely, so that a wrong configuration is told by name before anything
//! is computed, nothing is printed on stdout, and a process knows which peer went away.
//!
//! Limits: no encryption and no password between the processes, so their addresses belong on a network of one's own. The number of processes
//! and of workers is fixed while they run.

mod hosts;
mod join;
mod link;
mod lost;

pub use hosts::{Cluster, HostsError, PROCESSES_MAX};
pub use join::{JoinError, Joined, join};
pub use lost::{Lost, PeerLost};
