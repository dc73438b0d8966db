//! Recovery: what entered is on disk before anything follows from it, and a restart goes on where the last run was.
//!
//! Timely keeps no checkpoints, so state is made again from its input, and the input is small: not frames, but what the hot path made of
//! them. A [`record`] of the [`journal`] is one quantum of that: base rows of all workers, clock records, and what entered beside the
//! dataflow (gaps, refused frames, rules). The [`recorder`] writes it when the quantum is complete and lets the quantum go on (to
//! alerts, to the store) once it is durable. Now and then the operators' states are written down ([`snapshots`]). [`restore`] begins with them and gives
//! the records since back to the hot path, which passes them on to the views; they make the same rows with the same `known_at` again, which the
//! store and the outbox know how to take twice.
//!
//! Several processes keep a journal each. A quantum goes on in any of them when it is durable in all ([`in_step`]), and at a start all begin at the last one
//! that is ([`offers`], [`joint`]).
//!
//! Limits: a quantum that was not durable when the process died was never told or stored; live, it is a gap (from the last durable
//! quantum on), in a replay its frames are read again. The workers may be others than before: rows find their worker by themselves. The number of processes
//! may not: another has journals of its own.

mod in_step;
mod joint;
mod offers;
mod ongoing;
mod record;
mod recorder;
mod restore;
mod snapshots;

use serde::{Deserialize, Serialize};

pub use offers::JournalsDiffer;
pub use ongoing::Ongoing;
pub use recorder::{Entered, Recorder};
pub use restore::{Opened, Past, Restored, Settings, open};
pub use snapshots::{Cut, Snapshotter, Stored};

use crate::rules::Rules;
use crate::store::edge::EdgeRow;

/// What enters beside the dataflow.
#[allow(clippy::large_enum_variant)] // nearly all are rows
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// A row that the edge made.
    Row(EdgeRow),
    /// From here on these rules count.
    Rules(Rules),
}
