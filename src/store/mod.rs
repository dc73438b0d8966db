//! The store: every view's changes in ClickHouse, embedded or by URL, one code path.

pub mod edge;
