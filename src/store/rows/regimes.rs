//! Rows of the views that hidden Markov models make.

use clickhouse::Row;
use dataflows::model::{
    CandidateRegime, Change, Confirmation, Drift, InstrumentId, Real, Regime, RegimeEpisode, Timeframe, WindowRegime,
};
use hmm::{Label, Vote};
use serde::Serialize;

use super::{Names, Stored, consolidate, real};

macro_rules! stored_regime {
    ($row:ty => $stored:ident in $table:literal, |$at:ident| $regime:expr) => {
        stored!($row => $stored in $table, |$at| $regime.instrument => {
            timeframe: &'static str = $regime.timeframe.as_str(),
            ts: i64 = $regime.ts,
            model: String = $regime.model.to_string(),
            state: Option<u8> = $regime.state,
            label: &'static str = label($regime.label),
            firm: u8 = u8::from($regime.firm),
            probability: f64 = $regime.probability.0,
            probabilities: Vec<f64> = reals(&$regime.probabilities),
            smoothed: Vec<f64> = reals(&$regime.smoothed),
            viterbi_state: u8 = $regime.viterbi_state,
            viterbi_label: &'static str = label($regime.viterbi_label),
            surprise: f64 = $regime.surprise.0,
            forecast: Vec<f64> = reals(&$regime.forecast),
            expected_duration_bars: Option<f64> = real($regime.expected_duration_bars),
            entropy: f64 = $regime.entropy.0,
        });
    };
}

stored_regime!(Regime => StoredRegime in "regimes_changes", |row| row);
stored_regime!(CandidateRegime => StoredCandidateRegime in "candidate_regimes_changes", |row| row.0);

stored!(WindowRegime => StoredWindowRegime in "window_regimes_changes", |row| row.instrument => {
    timeframe: &'static str = row.timeframe.as_str(),
    ts: i64 = row.ts,
    model: String = row.model.to_string(),
    window_bars: u32 = row.window_bars,
    state: u8 = row.state,
    label: &'static str = label(row.label),
    probabilities: Vec<f64> = reals(&row.probabilities),
    share: Vec<(String, f64)> = shares(row),
    switches: u32 = row.switches,
    log_likelihood_per_bar: f64 = row.log_likelihood_per_bar.0,
});

stored!(Confirmation => StoredConfirmation in "confirmations_changes", |row| row.instrument => {
    ts: i64 = row.ts,
    primary_regime: &'static str = vote(row.primary),
    confidence: f64 = row.confidence.0,
    confirmed: u8 = u8::from(row.confirmed),
    agreeing: Vec<&'static str> = row.agreeing.iter().map(|timeframe| timeframe.as_str()).collect(),
    present: Vec<&'static str> = row.present.iter().map(|timeframe| timeframe.as_str()).collect(),
    product_posterior: Vec<f64> = reals(&row.product_posterior),
});

stored!(Drift => StoredDrift in "drift_changes", |row| row.instrument => {
    timeframe: &'static str = row.timeframe.as_str(),
    ts: i64 = row.ts,
    model: String = row.model.to_string(),
    surprise_z: f64 = row.surprise_z.0,
    drift_score: f64 = row.drift_score.0,
    symmetric_kl: Option<f64> = real(row.symmetric_kl),
    drifting: u8 = u8::from(row.drifting),
});

stored!(RegimeEpisode => StoredRegimeEpisode in "regime_episodes_changes", |row| row.instrument => {
    r#type: &'static str = row.kind.as_str(),
    timeframe: &'static str = row.timeframe.map_or("", Timeframe::as_str),
    onset: i64 = row.onset,
    ended_at: Option<i64> = row.ended_at,
    from: &'static str = label(row.from),
    to: &'static str = label(row.to),
    model: String = row.model.as_ref().map(ToString::to_string).unwrap_or_default(),
    strength: f64 = row.strength.0,
});

/// Empty: none.
fn label(label: Option<Label>) -> &'static str {
    label.map_or("", Label::name)
}

fn vote(vote: Vote) -> &'static str {
    match vote {
        Vote::Bear => "BEAR",
        Vote::Chop => "CHOP",
        Vote::Bull => "BULL",
    }
}

fn reals(values: &[Real]) -> Vec<f64> {
    values.iter().map(|value| value.0).collect()
}

/// By label, states of one label together; by the state's number where the model has no labels.
fn shares(row: &WindowRegime) -> Vec<(String, f64)> {
    let mut shares: Vec<(String, f64)> = Vec::with_capacity(row.share.len());
    for (state, share) in row.share.iter().enumerate() {
        let name = row.labels.get(state).map_or_else(|| state.to_string(), |label| label.name().to_owned());
        match shares.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += share.0,
            None => shares.push((name, share.0)),
        }
    }
    shares
}
