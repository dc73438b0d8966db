//! Views `regimes`, `candidate_regimes`, `window_regimes`: what hidden Markov models say at each closed bar.
//!
//! Per instrument and time frame, the active model filters forward over the features of closed bars; the newest candidate does so beside it.
//! Chains restart at fixed anchors ([`chain`]), so a row depends on a bounded stretch of bars and on the releases
//! ([`crate::models`]), not on arrival. A corrected bar corrects every row after it up to now, and every window that holds it. What lies
//! before the correction horizon stays as it is, also when a release comes that would have spoken there.
//!
//! All closed bars of the configured time frames are kept from the last anchor's warm-up on, whether a model reads them or not: one that is
//! released later says the same as if it had been there from the start. Without time frames the views cost nothing.

mod chain;
mod series;
mod timeline;

use std::sync::Arc;

use differential_dataflow::VecCollection;
use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Filter, Map};

use crate::anchors::anchor_of;
use crate::config::{Config, Regimes as Settings};
use crate::confirmations::Ballot;
use crate::drift::Surprise;
use crate::keeping::{Kept, Load, Save};
use crate::model::{
    CandidateRegime, Change, FEATURES, Features, InstrumentId, Instruments, MINUTE_MS, Real, Regime, Timeframe, WindowRegime,
};
use crate::models::Release;
use crate::operators::{Clocks, KnownAt, NEVER, per_quantum};
use crate::standing::Standing;
use chain::{Chain, Prepared, most_probable, reals};
use series::Series;
use timeline::Timeline;

/// The views, and what [`crate::drift`] and [`crate::confirmations`] start from.
pub struct Regimes<'scope> {
    /// View `regimes`.
    pub regimes: VecCollection<'scope, KnownAt, Regime, isize>,
    /// View `candidate_regimes`.
    pub candidate_regimes: VecCollection<'scope, KnownAt, CandidateRegime, isize>,
    /// View `window_regimes`.
    pub window_regimes: VecCollection<'scope, KnownAt, WindowRegime, isize>,
    /// How surprised the active models were.
    pub surprises: VecCollection<'scope, KnownAt, Surprise, isize>,
    /// How the active models vote.
    pub ballots: VecCollection<'scope, KnownAt, Ballot, isize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Output {
    Regime(Regime),
    Candidate(CandidateRegime),
    Window(WindowRegime),
    Surprise(Surprise),
    Ballot(Ballot),
}

#[derive(Clone)]
enum Input {
    Features(Change<Features>),
    Release(Release),
}

/// Maintains the regimes of all instruments. `releases` must reach every worker.
pub fn regimes<'scope>(
    features: VecCollection<'scope, KnownAt, Features, isize>,
    releases: StreamVec<'scope, KnownAt, Release>,
    clocks: Clocks<'scope>,
    config: &Config,
    names: Arc<Instruments>,
) -> Regimes<'scope> {
    let timeframes = config.regimes.timeframes.clone();
    let features = features.inner.filter(move |(row, _, _)| timeframes.contains(&row.timeframe)).map(Input::Features);
    let input = features.concat(releases.map(Input::Release));
    let state = State::new(config, names);
    let all =
        per_quantum(input, clocks, "regimes", state, |state, _known_at, input, _clocks, changes| state.quantum(input, changes));
    Regimes {
        regimes: all.clone().flat_map(|output| if let Output::Regime(row) = output { Some(row) } else { None }),
        candidate_regimes: all.clone().flat_map(|output| if let Output::Candidate(row) = output { Some(row) } else { None }),
        window_regimes: all.clone().flat_map(|output| if let Output::Window(row) = output { Some(row) } else { None }),
        ballots: all.clone().flat_map(|output| if let Output::Ballot(row) = output { Some(row) } else { None }),
        surprises: all.flat_map(|output| if let Output::Surprise(row) = output { Some(row) } else { None }),
    }
}

/// The views' struct by itself, without timely, for measuring.
pub struct Advance(State);

impl Advance {
    /// Without models.
    #[must_use]
    pub fn new(config: &Config, names: Arc<Instruments>) -> Self {
        Self(State::new(config, names))
    }

    /// A model is released.
    pub fn release(&mut self, release: Release) {
        self.0.quantum(vec![Input::Release(release)], &mut Vec::new());
    }

    /// Bars are closed. Answers how many rows of `regimes` came of it.
    pub fn bars(&mut self, rows: Vec<Change<Features>>) -> usize {
        let mut changes = Vec::new();
        self.0.quantum(rows.into_iter().map(Input::Features).collect(), &mut changes);
        changes.iter().filter(|(output, diff)| *diff > 0 && matches!(output, Output::Regime(_))).count()
    }
}

struct State {
    settings: Settings,
    horizon_ms: i64,
    names: Arc<Instruments>,
    timelines: FxHashMap<(Arc<str>, Timeframe), Timeline>,
    tracks: FxHashMap<(InstrumentId, Timeframe), Track>,
}

/// Releases come again with every start.
impl Kept for State {
    fn save(&self, save: &mut Save) {
        self.tracks.save(save);
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        self.tracks.load(load)
    }
}

impl State {
    fn new(config: &Config, names: Arc<Instruments>) -> Self {
        let settings = config.regimes.clone();
        let horizon_ms = config.correction_horizon_ms + MINUTE_MS;
        Self { settings, horizon_ms, names, timelines: FxHashMap::default(), tracks: FxHashMap::default() }
    }

    fn quantum(&mut self, input: Vec<Input>, changes: &mut Vec<(Output, isize)>) {
        let (mut rows, mut releases) = (Vec::with_capacity(input.len()), Vec::new());
        for item in input {
            match item {
                Input::Features(change) => rows.push(change),
                Input::Release(release) => releases.push(release),
            }
        }
        let mut due = Vec::new();
        releases.into_iter().for_each(|release| self.release(release, &mut due));
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        rows.sort_unstable_by_key(|(_, _, diff)| *diff);
        for (row, _, diff) in &rows {
            let key = (row.instrument, row.timeframe);
            if !self.tracks.contains_key(&key) {
                let Some(instrument) = self.names.get(row.instrument) else { continue };
                let target = (instrument.symbol.as_str().into(), row.timeframe);
                self.tracks.insert(key, Track::new(target));
            }
            if let Some(track) = self.tracks.get_mut(&key) {
                track.doubt(row.ts, key, &mut due);
                track.apply(row, *diff);
            }
        }
        for key in due {
            let Some(track) = self.tracks.get_mut(&key) else { continue };
            let timeline = self.timelines.get(&track.target);
            track.make_rows(key, timeline, &self.settings, changes);
            track.forget(key.1, self.horizon_ms, &self.settings);
        }
    }

    fn release(&mut self, release: Release, due: &mut Vec<Key>) {
        let target = (Arc::clone(&release.symbol), release.timeframe);
        let (from, model) = (release.from(), Arc::clone(&release.model));
        let timeline = self.timelines.entry(target.clone()).or_default();
        // One that can't be prepared was refused where it came in.
        if timeline.add(release, || Prepared::new(model, &self.settings).ok()) {
            for (key, track) in self.tracks.iter_mut().filter(|(_, track)| track.target == target) {
                track.doubt_rows(from, *key, due);
            }
        }
    }
}

type Key = (InstrumentId, Timeframe);

const CLEAN: i64 = i64::MAX;

/// One instrument's bars of one time frame, and what was said of them.
#[derive(serde::Serialize, serde::Deserialize)]
struct Track {
    target: (Arc<str>, Timeframe),
    series: Series,
    /// They follow from the series.
    #[serde(skip)]
    chains: Vec<Chain>,
    regimes: Standing<Regime>,
    candidates: Standing<CandidateRegime>,
    windows: Standing<WindowRegime>,
    surprises: Standing<Surprise>,
    ballots: Standing<Ballot>,
    /// The newest bar ever, by its opening.
    newest: i64,
    /// What opens before it stays as it is.
    settled_to: i64,
    /// The first bar whose rows may be wrong.
    dirty_from: i64,
}

impl Track {
    fn new(target: (Arc<str>, Timeframe)) -> Self {
        Self {
            target,
            series: Series::new(FEATURES.len()),
            chains: Vec::new(),
            regimes: Standing::default(),
            candidates: Standing::default(),
            windows: Standing::default(),
            surprises: Standing::default(),
            ballots: Standing::default(),
            newest: NEVER,
            settled_to: NEVER,
            dirty_from: CLEAN,
        }
    }

    /// Rows from `ts` on may be wrong, because the bar at `ts` is another.
    fn doubt(&mut self, ts: i64, key: Key, due: &mut Vec<Key>) {
        self.doubt_rows(ts, key, due);
        self.chains.iter_mut().for_each(|chain| chain.doubt(ts));
    }

    /// Rows from `ts` on may be wrong, because another model speaks.
    fn doubt_rows(&mut self, ts: i64, key: Key, due: &mut Vec<Key>) {
        if self.dirty_from == CLEAN {
            due.push(key);
        }
        self.dirty_from = self.dirty_from.min(ts.max(self.settled_to));
    }

    fn apply(&mut self, row: &Features, diff: isize) {
        self.newest = self.newest.max(row.ts);
        if diff > 0 {
            self.series.set(row.ts, row.values.iter().map(|value| value.map_or(f64::NAN, |Real(value)| value)));
        } else {
            self.series.remove(row.ts);
        }
    }

    fn make_rows(&mut self, key: Key, timeline: Option<&Timeline>, settings: &Settings, changes: &mut Vec<(Output, isize)>) {
        let from = std::mem::replace(&mut self.dirty_from, CLEAN);
        let mut new = NewRows::default();
        if let Some(timeline) = timeline {
            for at in self.series.place(from)..self.series.len() {
                self.rows_at(at, key, timeline, settings, &mut new);
            }
        }
        self.regimes.become_from(from, new.regimes, Output::Regime, changes);
        self.candidates.become_from(from, new.candidates, Output::Candidate, changes);
        self.windows.become_from(from, new.windows, Output::Window, changes);
        self.surprises.become_from(from, new.surprises, Output::Surprise, changes);
        self.ballots.become_from(from, new.ballots, Output::Ballot, changes);
    }

    fn rows_at(&mut self, at: usize, key: Key, timeline: &Timeline, settings: &Settings, new: &mut NewRows) {
        let ts = self.series.ts(at);
        let timeframe = key.1;
        if let Some(speaking) = timeline.speaking(ts)
            && let Some((row, chain)) = self.infer(at, key, speaking, settings)
        {
            new.surprises.push((ts, Surprise::new(&row, &speaking.model, chain.features())));
            if settings.confirmation.weight(timeframe).is_some() {
                new.ballots.extend(Ballot::of(&row, &speaking.model).map(|ballot| (ts, ballot)));
            }
            new.regimes.push((ts, row));
            if settings.window_timeframes.contains(&timeframe) {
                new.windows.extend(self.window(at, key, speaking, settings).map(|row| (ts, row)));
            }
        }
        if let Some(candidate) = timeline.candidate(ts) {
            new.candidates.extend(self.infer(at, key, candidate, settings).map(|(row, _)| (ts, CandidateRegime(row))));
        }
    }

    fn infer(&mut self, at: usize, key: Key, prepared: &Arc<Prepared>, settings: &Settings) -> Option<(Regime, &Chain)> {
        let place = self.chains.iter().position(|chain| chain.prepared.model.id == prepared.model.id);
        let place = place.unwrap_or_else(|| {
            self.chains.push(Chain::new(Arc::clone(prepared)));
            self.chains.len() - 1
        });
        let chain = &mut self.chains[place];
        let surprise = chain.run_to(&self.series, at, key.1, settings.warm_up_bars)?;
        chain.row(key.0, key.1, surprise, settings).map(|row| (row, &*chain))
    }

    fn window(&self, at: usize, key: Key, prepared: &Prepared, settings: &Settings) -> Option<WindowRegime> {
        let window = prepared.infer_window(&self.series, at, settings.window_bars)?;
        let last = window.smoothed.row(window.smoothed.nrows().checked_sub(1)?).to_vec();
        let state = most_probable(&last);
        Some(WindowRegime {
            instrument: key.0,
            timeframe: key.1,
            ts: self.series.ts(at),
            model: prepared.model.id.clone(),
            window_bars: settings.window_bars as u32,
            state: state as u8,
            label: prepared.model.label(state),
            probabilities: reals(&last),
            share: reals(&window.shares),
            labels: prepared.model.labels.clone(),
            switches: window.switches as u32,
            log_likelihood_per_bar: Real(window.log_likelihood_per_row),
        })
    }

    /// Drops what no row that can still change depends on.
    fn forget(&mut self, timeframe: Timeframe, horizon_ms: i64, settings: &Settings) {
        let limit = self.newest - horizon_ms;
        self.settled_to = self.settled_to.max(limit);
        self.regimes.forget_before(limit);
        self.candidates.forget_before(limit);
        self.windows.forget_before(limit);
        self.surprises.forget_before(limit);
        self.ballots.forget_before(limit);
        self.chains.retain(|chain| chain.last().is_none_or(|last| last >= limit));
        let warm_up = self.series.place(anchor_of(timeframe, limit) - settings.warm_up_bars as i64 * timeframe.ms());
        if warm_up > 0 {
            let window = self.series.place(limit).saturating_sub(settings.window_bars);
            self.series.forget_first(warm_up.min(window));
        }
    }
}

#[derive(Default)]
struct NewRows {
    regimes: Vec<(i64, Regime)>,
    candidates: Vec<(i64, CandidateRegime)>,
    windows: Vec<(i64, WindowRegime)>,
    surprises: Vec<(i64, Surprise)>,
    ballots: Vec<(i64, Ballot)>,
}
