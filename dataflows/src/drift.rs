//! View `drift`: does the active model still fit the bars that it speaks of?
//!
//! The mean surprise of the last bars of the model (as many as its training blocks had) against those blocks. Surprises are summed as
//! integers (a billionth of a nat), so that what is added and later taken away leaves nothing behind. Bars count once the model speaks:
//! after a promotion the window has to fill again. A row exists where the window is full.
//!
//! Drifting: the last [3] scores are above [0.5]. The mean of 500 bars moves slowly, so this needs no hysteresis and no memory.

use std::collections::VecDeque;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;

use crate::config::Config;
use crate::model::{Change, Clock, Drift, InstrumentId, MINUTE_MS, ModelId, Real, Timeframe};
use crate::models::Model;
use crate::operators::{KnownAt, NEVER, per_quantum};

/// Nats to billionths.
const NANO: f64 = 1e9;

/// How surprised a model was by one bar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Surprise {
    instrument: InstrumentId,
    timeframe: Timeframe,
    ts: i64,
    /// Billionths of a nat.
    nanonats: i64,
    model: ModelId,
    reference: Option<Reference>,
}

/// [`hmm::DriftReference`], comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Reference {
    block: usize,
    mean: Real,
    deviation: Real,
}

impl Surprise {
    pub(crate) fn new(instrument: InstrumentId, timeframe: Timeframe, ts: i64, model: &Arc<Model>, surprise: Real) -> Self {
        let reference = model.drift.map(|hmm::DriftReference { block, mean, deviation, .. }| Reference {
            block,
            mean: Real(mean),
            deviation: Real(deviation),
        });
        // A surprise is finite; one beyond 9e9 nats is as good as 9e9.
        Self { instrument, timeframe, ts, nanonats: (surprise.0 * NANO).round() as i64, model: model.id.clone(), reference }
    }
}
