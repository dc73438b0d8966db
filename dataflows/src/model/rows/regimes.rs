//! Rows of the views that hidden Markov models make.

use std::fmt;
use std::sync::Arc;

use hmm::{Label, Vote};
use serde::{Deserialize, Serialize};

use super::{InstrumentId, Real, Timeframe};

/// Names a model: `btc-4h.v3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelId {
    /// Of all its versions.
    pub name: Arc<str>,
    /// Counts refits, from 1.
    pub version: u32,
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.v{}", self.name, self.version)
    }
}

/// View `regimes`: what the active model says at a closed bar. Key: instrument, timeframe, ts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Regime {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The bar's length.
    pub timeframe: Timeframe,
    /// The bar's opening, UTC ms. Known once the bar is closed.
    pub ts: i64,
    /// Which model speaks.
    pub model: ModelId,
    /// The decided state (Schmitt trigger), from 0; `None` until a first one is entered.
    pub state: Option<u8>,
    /// The decided state's label; `None` if nothing is decided or the model has no labels.
    pub label: Option<Label>,
    /// The decided state's probability is at least the trigger's lower threshold.
    pub firm: bool,
    /// Filtered probability of the decided state; of the most probable one while none is decided.
    pub probability: Real,
    /// P(state | bars so far), by state.
    pub probabilities: Arc<[Real]>,
    /// P(state `lag` bars ago | bars so far), by state; empty in the first bars of a chain.
    pub smoothed: Arc<[Real]>,
    /// The state of this bar on the most probable path so far.
    pub viterbi_state: u8,
    /// Its label.
    pub viterbi_label: Option<Label>,
    /// −log p(bar | bars before), nats, in the model's standardised units.
    pub surprise: Real,
    /// P(state h bars ahead) for h = 1, 2, …: all states of h = 1, then of h = 2, …
    pub forecast: Arc<[Real]>,
    /// Expected bars that the decided (or most probable) state lasts on; `None`: for ever.
    pub expected_duration_bars: Option<Real>,
    /// Of `probabilities`, nats: 0 is certainty.
    pub entropy: Real,
}

/// View `candidate_regimes`: what the newest candidate would say. Key: instrument, timeframe, ts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CandidateRegime(pub Regime);

/// View `window_regimes`: what the last bars say by themselves. Key: instrument, timeframe, ts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WindowRegime {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The bars' length.
    pub timeframe: Timeframe,
    /// The last bar's opening, UTC ms.
    pub ts: i64,
    /// Which model speaks.
    pub model: ModelId,
    /// Bars of the window.
    pub window_bars: u32,
    /// The most probable state of the last bar.
    pub state: u8,
    /// Its label.
    pub label: Option<Label>,
    /// P(state of the last bar | the window), by state.
    pub probabilities: Box<[Real]>,
    /// Share of the window that the most probable path spends in each state, by state.
    pub share: Box<[Real]>,
    /// The labels of all states; empty if the model has none.
    pub labels: Box<[Label]>,
    /// How often the most probable path changes state.
    pub switches: u32,
    /// log p(window) / bars, nats, in the model's standardised units.
    pub log_likelihood_per_bar: Real,
}

/// View `confirmations`: what the time frames of a symbol say together. Key: instrument (the symbol on all venues), ts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Confirmation {
    /// The symbol on all venues together.
    pub instrument: InstrumentId,
    /// The end of a bar of the fastest frame, UTC ms.
    pub ts: i64,
    /// The weighted plurality; a tie is Chop.
    pub primary: Vote,
    /// Share of the present frames' weight that agrees.
    pub confidence: Real,
    /// Agreement was high enough for long enough and has not been lost since.
    pub confirmed: bool,
    /// The frames that agree.
    pub agreeing: Box<[Timeframe]>,
    /// The frames that vote.
    pub present: Box<[Timeframe]>,
    /// Weighted logarithmic pool of the frames' probabilities of Bear, Chop, Bull.
    pub product_posterior: [Real; 3],
}

/// View `drift`: does the active model still fit? Key: instrument, timeframe, ts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Drift {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The bars' length.
    pub timeframe: Timeframe,
    /// The last bar's opening, UTC ms.
    pub ts: i64,
    /// Which model.
    pub model: ModelId,
    /// Deviations by which the mean surprise of the last bars lies above the training blocks'.
    pub surprise_z: Real,
    /// max(0, z) / 6.
    pub drift_score: Real,
    /// Symmetric Kullback–Leibler divergence between the features of the last bars and those of the training rows, nats. `None`: the model is
    /// not standardised, or no feature is known in half of the bars.
    pub symmetric_kl: Option<Real>,
    /// The score has been above its limit for long enough.
    pub drifting: bool,
}

/// What an episode of regimes is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EpisodeKind {
    /// The decided regime became another.
    Change,
    /// The time frames agree.
    Confirmed,
    /// The model no longer fits.
    Drift,
}

impl EpisodeKind {
    /// As SQL writes it: the event's type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Change => "REGIME_CHANGE",
            Self::Confirmed => "REGIME_CONFIRMED",
            Self::Drift => "MODEL_DRIFT",
        }
    }
}

/// View `regime_episodes`: what people are told about regimes. Key: kind, instrument, timeframe, onset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegimeEpisode {
    /// What it is about.
    pub kind: EpisodeKind,
    /// Of which instrument; for a confirmation, the symbol on all venues.
    pub instrument: InstrumentId,
    /// Of which bars; `None` for a confirmation.
    pub timeframe: Option<Timeframe>,
    /// The end of the bar that began it, UTC ms.
    pub onset: i64,
    /// The end of the bar that ended it, UTC ms; `None`: it lasts.
    pub ended_at: Option<i64>,
    /// The regime before, where there was one.
    pub from: Option<Label>,
    /// The regime since; `None` for drift.
    pub to: Option<Label>,
    /// The model, where it is of one.
    pub model: Option<ModelId>,
    /// At the onset: probability of the new regime, confidence, or drift score.
    pub strength: Real,
}
