//! The store: every view's changes in ClickHouse, embedded or by URL, one code path.

pub mod edge;

/// Everything that became known at one time, complete.
#[derive(Debug, Default)]
pub struct Quantum {
    /// UTC ms.
    pub known_at: u64,
    /// Changes of the dataflow's views.
    pub changes: Vec<dataflows::model::Changes>,
    /// Rows of the edge.
    pub edge: Vec<edge::EdgeRow>,
}
