//! The commands. Results go to stdout, talk to stderr, exit codes are those of sysexits.

pub mod config;
//! The commands, one file each.
pub mod simulate;
