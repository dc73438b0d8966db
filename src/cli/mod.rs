//! The commands. Each has its arguments and a `run` that ends with an exit code of sysexits.h.

pub mod dump;
pub mod migrate;
pub mod query;
pub mod store_args;
