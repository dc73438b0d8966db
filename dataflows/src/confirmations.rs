//! View `confirmations`: what the time frames of a symbol say together.
//!
//! At the end of each bar of the fastest voting frame, every frame votes with the decided regime of its last closed bar: Bear, Chop or
//! Bull. A frame whose last bar is missing, or undecided, or labelled by volatility only, doesn't vote. The weighted plurality is the
//! primary regime (a tie is Chop), its share of the votes' weight the confidence. It is confirmed once the confidence has been at least
//! [0.70] for [2] points, and until it falls below [0.5] or another regime leads. With fewer than [3] votes there is no row, and
//! confirmation begins anew. A symbol's votes are those of the first venue (in the order of [`Venue::ALL`]) that has enough of them.
//!
//! Beside the vote: the weighted logarithmic pool of the frames' probabilities of the three classes, Π p^(w / Σw). A class that a
//! frame's model doesn't know has probability 0 there; probabilities are raised to 0.001, so that no frame has a veto.
//!
//! Finite memory: the hysteresis restarts at the fastest frame's anchors.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use hmm::{Label, Vote};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Exchange;
use timely::dataflow::operators::vec::Map;

use crate::anchors::anchor_of;
use crate::config::{Config, Confirmation as Settings};
use crate::keeping::ById;
use crate::model::{
    Change, Clock, Confirmation, EpisodeKind, InstrumentId, Instruments, MINUTE_MS, Real, Regime, Timeframe, Venue,
};
use crate::models::Model;
use crate::operators::{Clocks, KnownAt, NEVER, per_quantum};
use crate::regime_episodes::{Seen, Sighting};
use crate::standing::Standing;

/// Where classes stand in a posterior.
const CLASSES: [Vote; 3] = [Vote::Bear, Vote::Chop, Vote::Bull];
/// Probabilities below it count as this in the pool.
const POOLED_MIN: f64 = 1e-3;
/// Sums of weights this near are equal.
const NEAR: f64 = 1e-9;

/// A frame's vote at the end of a bar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    instrument: InstrumentId,
    timeframe: Timeframe,
    /// The end of the bar, UTC ms.
    end: i64,
    vote: Vote,
    /// Of Bear, Chop, Bull.
    posterior: [Real; 3],
}

impl Ballot {
    /// `None`: nothing is decided, or the label doesn't vote.
    pub(crate) fn of(row: &Regime, model: &Model) -> Option<Self> {
        let vote = row.label?.vote()?;
        let of_class = |class: Vote| {
            let votes = model.labels.iter().map(|label| label.vote());
            let of = row.probabilities.iter().zip(votes).filter(|(_, vote)| *vote == Some(class));
            Real(of.map(|(p, _)| p.0).sum())
        };
        let Regime { instrument, timeframe, ts, .. } = *row;
        Some(Self { instrument, timeframe, end: ts + timeframe.ms(), vote, posterior: CLASSES.map(of_class) })
    }
}

/// The view, and what [`crate::regime_episodes`] starts from.
pub struct Confirmations<'scope> {
    /// View `confirmations`.
    pub confirmations: VecCollection<'scope, KnownAt, Confirmation, isize>,
    /// What was confirmed, point by point.
    pub sightings: VecCollection<'scope, KnownAt, Sighting, isize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Output {
    Confirmation(Confirmation),
    Seen(Sighting),
}

/// Maintains the confirmations of all symbols. A symbol's votes meet on one worker.
pub fn confirmations<'scope>(
    ballots: VecCollection<'scope, KnownAt, Ballot, isize>,
    clocks: Clocks<'scope>,
    config: &Config,
    names: Arc<Instruments>,
) -> Confirmations<'scope> {
    let rules = Rules {
        settings: config.regimes.confirmation.clone(),
        warm_up_bars: config.regimes.warm_up_bars as i64,
        horizon_ms: config.correction_horizon_ms + MINUTE_MS,
    };
    let of_symbol = ballots.inner.flat_map(move |(ballot, known_at, diff)| {
        let instrument = names.get(ballot.instrument)?;
        let symbol = names.across(&instrument.symbol)?;
        Some(((symbol, instrument.venue, ballot), known_at, diff))
    });
    let logic = move |symbols: &mut ById<Symbol>,
                      _known_at,
                      mut rows: Vec<Change<(InstrumentId, Venue, Ballot)>>,
                      _: &[Clock],
                      changes: &mut Vec<_>| {
        // A correction is (old, −1) and (new, +1), in either order: take away before adding.
        rows.sort_unstable_by_key(|((symbol, ..), _, diff)| (*symbol, *diff));
        for rows in rows.chunk_by(|a, b| a.0.0 == b.0.0) {
            let id = rows[0].0.0;
            let symbol = symbols.entry(id).or_default();
            rows.iter().for_each(|((_, venue, ballot), _, diff)| symbol.apply(*venue, ballot, *diff));
            symbol.make_rows(id, &rules, changes);
            symbol.forget(&rules);
        }
    };
    let places = clocks.keeping.places();
    let of_symbol = of_symbol.exchange(move |((symbol, ..), _, _)| places.of(symbol.0));
    let all = per_quantum(of_symbol, clocks, "confirmations", ById::default(), logic);
    Confirmations {
        confirmations: all.clone().flat_map(|output| if let Output::Confirmation(row) = output { Some(row) } else { None }),
        sightings: all.flat_map(|output| if let Output::Seen(row) = output { Some(row) } else { None }),
    }
}

struct Rules {
    settings: Settings,
    warm_up_bars: i64,
    horizon_ms: i64,
}

impl Rules {
    /// Fewer would say nothing; an empty list of voters has none.
    fn fastest(&self) -> Timeframe {
        self.settings.weights.iter().map(|(timeframe, _)| *timeframe).min().unwrap_or(Timeframe::H1)
    }

    fn anchor(&self, point: i64) -> i64 {
        anchor_of(self.fastest(), point)
    }
}

/// The votes of one symbol.
#[derive(serde::Serialize, serde::Deserialize)]
struct Symbol {
    /// By the end of the bar.
    ballots: BTreeMap<(i64, Venue, Timeframe), Ballot>,
    rows: Standing<Confirmation>,
    seen: Standing<Sighting>,
    dirty_from: i64,
    settled_to: i64,
    newest: i64,
    held: Held,
}

impl Default for Symbol {
    fn default() -> Self {
        let (rows, seen) = (Standing::default(), Standing::default());
        Self {
            ballots: BTreeMap::new(),
            rows,
            seen,
            dirty_from: i64::MAX,
            settled_to: NEVER,
            newest: NEVER,
            held: Held::default(),
        }
    }
}

/// The hysteresis after a point.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Held {
    /// The last point that was taken in. `None`: begin anew.
    at: Option<i64>,
    primary: Option<Vote>,
    /// Points in a row with enough agreement.
    run: usize,
    is_confirmed: bool,
}

impl Held {
    fn step(&mut self, at: i64, result: Option<(Vote, f64)>, settings: &Settings) {
        let Some((primary, confidence)) = result else {
            *self = Self { at: Some(at), ..Self::default() };
            return;
        };
        if self.primary != Some(primary) {
            *self = Self { primary: Some(primary), ..Self::default() };
        }
        self.at = Some(at);
        self.run = if confidence >= settings.enter - NEAR { self.run + 1 } else { 0 };
        self.is_confirmed = if self.is_confirmed { confidence >= settings.leave - NEAR } else { self.run >= settings.hold_bars };
    }
}

/// What the frames say at one point.
struct Count {
    primary: Vote,
    confidence: f64,
    agreeing: Box<[Timeframe]>,
    present: Box<[Timeframe]>,
    pool: [Real; 3],
}

impl Symbol {
    fn apply(&mut self, venue: Venue, ballot: &Ballot, diff: isize) {
        let key = (ballot.end, venue, ballot.timeframe);
        if diff > 0 {
            self.ballots.insert(key, ballot.clone());
        } else {
            self.ballots.remove(&key);
        }
        self.newest = self.newest.max(ballot.end);
        self.dirty_from = self.dirty_from.min(ballot.end.max(self.settled_to));
    }

    fn make_rows(&mut self, instrument: InstrumentId, rules: &Rules, changes: &mut Vec<(Output, isize)>) {
        let from = std::mem::replace(&mut self.dirty_from, i64::MAX);
        let (mut rows, mut seen) = (Vec::new(), Vec::new());
        for ts in self.points(from) {
            let count = self.count(ts, rules);
            self.hold(ts, count.as_ref().map(|count| (count.primary, count.confidence)), rules);
            let confirmed = self.held.is_confirmed;
            let strength = count.as_ref().map(|count| Real(count.confidence));
            let regime = count.as_ref().map(|count| label(count.primary));
            let now = strength.filter(|_| confirmed).map(|strength| Seen { regime, model: None, strength });
            seen.push((ts, Sighting { kind: EpisodeKind::Confirmed, instrument, timeframe: None, ts, seen: now }));
            rows.extend(count.map(|count| {
                let Count { primary, confidence, agreeing, present, pool: product_posterior } = count;
                let confidence = Real(confidence);
                (ts, Confirmation { instrument, ts, primary, confidence, confirmed, agreeing, present, product_posterior })
            }));
        }
        self.rows.become_from(from, rows, Output::Confirmation, changes);
        self.seen.become_from(from, seen, Output::Seen, changes);
    }

    /// Where at least one bar of a voting frame ends.
    fn points(&self, from: i64) -> Vec<i64> {
        let mut points: Vec<i64> =
            self.ballots.range((from, Venue::ALL[0], Timeframe::M1)..).map(|(&(end, ..), _)| end).collect();
        points.dedup();
        points
    }

    /// Takes a point into the hysteresis; after a correction or at an anchor, from the warm-up before the anchor.
    fn hold(&mut self, ts: i64, result: Option<(Vote, f64)>, rules: &Rules) {
        let before = self.ballots.range(..(ts, Venue::ALL[0], Timeframe::M1)).next_back().map(|(&(end, ..), _)| end);
        let anchor = rules.anchor(ts);
        if self.held.at.is_none() || self.held.at != before || before.map(|before| rules.anchor(before)) != Some(anchor) {
            self.held = Held::default();
            let first = anchor - rules.warm_up_bars * rules.fastest().ms();
            for point in self.points(first).into_iter().take_while(|&point| point < ts) {
                let result = self.count(point, rules).map(|count| (count.primary, count.confidence));
                self.held.step(point, result, &rules.settings);
            }
        }
        self.held.step(ts, result, &rules.settings);
    }

    fn count(&self, ts: i64, rules: &Rules) -> Option<Count> {
        let settings = &rules.settings;
        let of_venue = |venue: Venue| -> Vec<(&Ballot, f64)> {
            let vote = |&(timeframe, weight): &(Timeframe, f64)| {
                Some((self.ballots.get(&(timeframe.open_of(ts), venue, timeframe))?, weight))
            };
            settings.weights.iter().filter_map(vote).collect()
        };
        let votes = Venue::ALL.into_iter().map(of_venue).find(|votes| votes.len() >= settings.present_min.max(1))?;
        let total: f64 = votes.iter().map(|(_, weight)| weight).sum();
        let weight_of = |class: Vote| votes.iter().filter(|(vote, _)| vote.vote == class).map(|(_, weight)| weight).sum::<f64>();
        let top = CLASSES.map(weight_of).into_iter().fold(0.0, f64::max);
        let mut leading = CLASSES.into_iter().filter(|&class| weight_of(class) >= top - NEAR);
        let primary = leading.next().filter(|_| leading.next().is_none()).unwrap_or(Vote::Chop);
        let agreeing = votes.iter().filter(|(vote, _)| vote.vote == primary).map(|(vote, _)| vote.timeframe).collect();
        let present = votes.iter().map(|(vote, _)| vote.timeframe).collect();
        let confidence = weight_of(primary) / total;
        Some(Count { primary, confidence, agreeing, present, pool: pool(&votes, total) })
    }

    /// Drops what no row that can still change depends on.
    fn forget(&mut self, rules: &Rules) {
        let limit = self.newest - rules.horizon_ms;
        self.settled_to = self.settled_to.max(limit);
        self.rows.forget_before(limit);
        self.seen.forget_before(limit);
        let first = rules.anchor(limit) - rules.warm_up_bars * rules.fastest().ms();
        // A frame's last closed bar at `first` ended up to its length before.
        while let Some(entry) = self.ballots.first_entry() {
            let (end, _, timeframe) = *entry.key();
            if end + timeframe.ms() > first {
                break;
            }
            entry.remove();
        }
    }
}

/// Π p^(w / Σw) over the frames, normalised.
fn pool(votes: &[(&Ballot, f64)], total: f64) -> [Real; 3] {
    let log_of = |class: usize| -> f64 {
        votes.iter().map(|(vote, weight)| weight / total * vote.posterior[class].0.max(POOLED_MIN).ln()).sum()
    };
    let powers = [0, 1, 2].map(|class| log_of(class).exp());
    powers.map(|power| Real(power / powers.iter().sum::<f64>()))
}

fn label(vote: Vote) -> Label {
    match vote {
        Vote::Bear => Label::Bear,
        Vote::Chop => Label::Chop,
        Vote::Bull => Label::Bull,
    }
}
