//! Regimes of random models on random markets, against the oracle, and what must hold of them however the market arrives.

use std::sync::Arc;

use dataflows::config::{Config, Confirmation as Confirming};
use dataflows::fixed::{ONE, Price, Quantity};
use dataflows::model::*;
use dataflows::models::{Model, Release, Status};
use hmm::ndarray::Array2;
use hmm::{Covariance, DriftReference, Emission, Hmm, Label, ModelFile, Scaling, StateLabel, Training};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::oracle::regimes::{Order, Spec, regimes};
use crate::properties::{cases, check_keys};
use crate::run::{Arrival, Batch, Feed, History, Plan, assert_same, current, feed, run};
use crate::streams::START;

/// Small windows and low thresholds, so that hours have all that months have.
fn config() -> Config {
    use Timeframe::{M1, M5, M15};
    let mut config = Config { features_timeframes: vec![M1, M5, M15], ..Config::default() };
    let regimes = &mut config.regimes;
    regimes.timeframes = vec![M1, M5, M15];
    (regimes.enter, regimes.leave) = (0.7, 0.5);
    (regimes.lag, regimes.forecast_bars, regimes.warm_up_bars) = (3, 2, 40);
    (regimes.window_bars, regimes.window_timeframes) = (20, vec![M5]);
    let weights = vec![(M1, 1.0), (M5, 1.5), (M15, 1.0)];
    regimes.confirmation = Confirming { weights, present_min: 2, enter: 0.6, hold_bars: 2, leave: 0.4 };
    (regimes.drift_score, regimes.drift_bars) = (0.3, 3);
    regimes.change_timeframes = vec![M5, M15];
    config
}

/// A model before it is told of which symbol and bars it is.
#[derive(Clone, Debug)]
struct RawModel {
    columns: Vec<usize>,
    states: Vec<(f64, [f64; 3], [f64; 3])>,
    labels: usize,
    drift: Option<(usize, f64)>,
}

fn raw_model() -> impl Strategy<Value = RawModel> {
    let columns = prop::sample::subsequence(vec![0usize, 2, 3, 7, 8, 10], 1..=3);
    let state = (0.6f64..0.97, [-1.0f64..1.0, -1.0..1.0, -1.0..1.0], [0.2f64..2.0, 0.2..2.0, 0.2..2.0]);
    let drift = prop::option::weighted(0.7, (10usize..40, -1.0f64..4.0));
    (columns, vec(state, 2..=3), 0usize..5, drift).prop_map(|(columns, states, labels, drift)| RawModel {
        columns,
        states,
        labels,
        drift,
    })
}

impl RawModel {
    fn spec(&self, name: &str, version: u32, trained_to: Option<i64>) -> Spec {
        let k = self.states.len();
        let labels: &[Label] = match self.labels {
            0 => &[],
            1 => &[Label::Calm, Label::Turbulent, Label::Turbulent],
            2 => &[Label::Chop, Label::Bull, Label::StrongBull],
            _ => &[Label::Bear, Label::Bull, Label::Chop],
        };
        let of_bars = [(0.0, 0.002), (0.0, 1.0), (-6.5, 1.0), (50.0, 20.0), (0.0, 1.0), (0.0, 1.0), (25.0, 10.0), (0.0, 0.7)];
        let usual = [&of_bars[..], &[(6.0, 5.0), (6.0, 5.0), (0.0, 0.1), (0.0, 2.0)]].concat();
        let stay = |i: usize, j: usize| {
            let stays = self.states[i].0;
            if i == j { stays } else { (1.0 - stays) / (k - 1) as f64 }
        };
        let of_columns = |values: &[f64; 3]| values[..self.columns.len()].to_vec();
        Spec {
            id: ModelId { name: name.into(), version },
            columns: self.columns.clone(),
            scaling: self.columns.iter().map(|&column| usual[column]).collect(),
            transition: (0..k).map(|i| (0..k).map(|j| stay(i, j)).collect()).collect(),
            means: self.states.iter().map(|state| of_columns(&state.1)).collect(),
            variances: self.states.iter().map(|state| of_columns(&state.2)).collect(),
            labels: labels[..labels.len().min(k)].to_vec(),
            trained_to,
            drift: self.drift.map(|(block, mean)| (block, mean, 0.3)),
        }
    }
}

/// The file that the program would read.
fn release(order: &Order) -> Release {
    let spec = &order.spec;
    let (k, d) = (spec.means.len(), spec.columns.len());
    let matrix = |rows: &[Vec<f64>]| Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap();
    let emission = Emission::gaussian(matrix(&spec.means), Covariance::Diagonal(matrix(&spec.variances)));
    assert_eq!((matrix(&spec.means).dim(), matrix(&spec.transition).dim()), ((k, d), (k, k)));
    // A start that no market has: chains must begin from the stationary distribution.
    let start = (0..k).map(|s| f64::from(u8::from(s == 0))).collect();
    let label = |&label: &Label| StateLabel { label, mean_return: 0.0, t_statistic: 0.0, deviation: 1.0, rows: 1.0 };
    let (mean, deviation) = spec.scaling.iter().copied().unzip();
    let training = |to_ms| Training { from_ms: 0, to_ms, rows: 9, hash: String::new(), log_likelihood: 0.0 };
    let file = ModelFile {
        model: Hmm::new(start, matrix(&spec.transition), emission).unwrap(),
        features: spec.columns.iter().map(|&column| FEATURES[column].to_owned()).collect(),
        scaling: Some(Scaling { mean, deviation }),
        training: spec.trained_to.map(training),
        labels: (!spec.labels.is_empty()).then(|| spec.labels.iter().map(label).collect()),
        drift: spec.drift.map(|(block, mean, deviation)| DriftReference { block, mean, deviation, blocks: 9 }),
    };
    Release {
        symbol: order.symbol.into(),
        timeframe: order.timeframe,
        active_from: order.active_from,
        status: order.status,
        model: Arc::new(Model::from_json(spec.id.clone(), &file.to_json().unwrap()).unwrap()),
    }
}

/// Hours of one symbol on two venues and of another, around midnight, with models that come and go.
#[derive(Clone, Debug)]
struct Hours {
    minutes: u16,
    /// Per minute: who, by how much the price steps (basis points), milliseconds late.
    trades: Vec<(u8, i8, u32)>,
    outages: Vec<(u16, u8)>,
    models: Vec<RawModel>,
    /// When each of three later releases counts, minutes; and whether the first model was trained on the market's first hours.
    turns: [u16; 3],
    trained: bool,
}

const NAMES: [(Venue, &str); 3] =
    [(Venue::BinanceUsdm, "BTC-USDT-PERP"), (Venue::BybitLinear, "BTC-USDT-PERP"), (Venue::BybitLinear, "SOL-USDT-PERP")];

fn hours() -> impl Strategy<Value = Hours> {
    let late = || prop_oneof![12 => 0u32..3_000, 1 => 0u32..7_000_000];
    let trade = (0u8..5, -30i8..31, late());
    (
        250u16..420,
        vec(trade, 600..1_000),
        vec((0u16..420, 1u8..40), 0..3),
        vec(raw_model(), 4),
        [60u16..400, 60u16..400, 60u16..400],
        prop::bool::weighted(0.3),
    )
        .prop_map(|(minutes, trades, outages, models, turns, trained)| Hours {
            minutes,
            trades,
            outages,
            models,
            turns,
            trained,
        })
}

struct Market {
    instruments: Arc<Instruments>,
    arrivals: [Vec<Arrival>; 2],
    orders: Vec<Order>,
}

impl Hours {
    fn market(&self) -> Market {
        Market { orders: self.orders(), ..self.quiet_market() }
    }

    /// Without models.
    fn quiet_market(&self) -> Market {
        let instruments = Arc::new(Instruments::default());
        let ids = NAMES.map(|(venue, symbol)| instruments.intern(venue, symbol).unwrap());
        let is_out = |minute: u16| self.outages.iter().any(|&(from, length)| (from..from + u16::from(length)).contains(&minute));
        let mut arrivals = [Vec::new(), Vec::new()];
        let mut price = 60_000.0;
        for (i, &(who, step, late)) in self.trades.iter().enumerate() {
            let minute = (i * usize::from(self.minutes) / self.trades.len()) as u16;
            if is_out(minute) {
                continue;
            }
            // Turns of the market every hour or so.
            let lean = if self.models.is_empty() { 0 } else { [8, -8, 0][usize::from(minute / 70) % 3] };
            price *= 1.0 + f64::from(i32::from(step) + lean) / 1e4;
            let ts = START + i64::from(minute) * MINUTE_MS + (i as i64 * 7_919) % MINUTE_MS;
            let instrument = ids[[0, 0, 1, 1, 2][usize::from(who)]];
            let trade = Trade {
                instrument,
                ts,
                order: (0, i as u64),
                id: TradeId::Dense(i as u64, i as u64),
                price: Price((price * 1e8) as i64 * 10_000),
                qty: Quantity(ONE * (1 + i as i128 % 5)),
                taker_buy: step > 0,
                fills: 1,
                kind: TradeKind::Market,
            };
            let mut add = |tick: Tick| {
                arrivals[0].push((ts as u64 + u64::from(late), tick.clone()));
                arrivals[1].push((ts as u64 + u64::from(late / 3), tick));
            };
            add(Tick::Trade(trade));
            if self.models.is_empty() {
                continue;
            }
            // Models read what flows beside prices, too.
            if i % 7 == 0 {
                add(Tick::Liquidation(Liquidation {
                    instrument,
                    ts,
                    position_side: if step > 0 { PositionSide::Short } else { PositionSide::Long },
                    price: trade.price,
                    qty: Quantity(ONE / 100 * (1 + i as i128 % 40)),
                    seq: i as u32,
                    price_kind: PriceKind::Bankruptcy,
                    coverage: Coverage::Full,
                }));
            }
            if i % 3 == 0 {
                let base = Quantity(ONE * (1_000 + (i as i128 * 31) % 97));
                add(Tick::OpenInterest(OpenInterest { instrument, ts, order: i as u64, base }));
            }
        }
        Market { instruments, arrivals, orders: Vec::new() }
    }

    /// One model per frame of the symbol on two venues from the start; a second version of the 5m one is a candidate, is promoted, and
    /// retires or is rolled back. Nothing is ever said of the other symbol.
    fn orders(&self) -> Vec<Order> {
        use Timeframe::{M1, M5, M15};
        let at = |turn: usize| START + i64::from(self.turns[turn]) * MINUTE_MS;
        let trained_to = self.trained.then_some(START + 90 * MINUTE_MS);
        let order = |timeframe, active_from, status, spec: &Spec| Order {
            symbol: NAMES[0].1,
            timeframe,
            active_from,
            status,
            spec: spec.clone(),
        };
        let specs: Vec<Spec> = (0..3).map(|i| self.models[i].spec(["a", "b", "c"][i], 1, trained_to)).collect();
        let second = self.models[3].spec("b", 2, None);
        let mut turns = [at(0), at(1), at(2)];
        turns.sort_unstable();
        let mut orders = vec![
            order(M1, 0, Status::Active, &specs[0]),
            order(M5, 0, Status::Active, &specs[1]),
            order(M15, 0, Status::Active, &specs[2]),
            order(M5, turns[0], Status::Candidate, &second),
            order(M5, turns[1], Status::Active, &second),
        ];
        orders.push(if self.trained {
            order(M5, turns[2], Status::Retired, &second)
        } else {
            order(M5, turns[2], Status::Active, &specs[1])
        });
        orders
    }
}

impl Market {
    /// Releases are known at the first moment, or each just before the first bar that it speaks of.
    fn feed(&self, arrivals: &[Arrival], plan: Plan, at_once: bool) -> Feed {
        let mut feed = feed(&self.instruments, arrivals, plan);
        let first = *feed.first_key_value().unwrap().0;
        for order in &self.orders {
            let told = if at_once { first } else { first.max((order.active_from as u64).next_multiple_of(plan.quantum_ms)) };
            let told = feed.range(..=told).next_back().map_or(first, |(&known_at, _)| known_at);
            let batches = feed.get_mut(&told).unwrap();
            batches.resize(plan.workers.max(batches.len()), Batch::default());
            batches[0].releases.push(release(order));
        }
        feed
    }

    fn views(&self, arrivals: &[Arrival], plan: Plan, at_once: bool) -> History {
        run(&config(), &self.instruments, self.feed(arrivals, plan, at_once), plan).0
    }

    fn check(&self, history: &History) {
        let said = regimes(&config(), &self.instruments, &self.orders, &current(&history.features));
        let why = "views and oracle";
        compare(current(&history.regimes), &said.regimes, near_regime, "regimes", why);
        let near_candidate = |a: &CandidateRegime, b: &CandidateRegime| near_regime(&a.0, &b.0);
        compare(current(&history.candidate_regimes), &said.candidates, near_candidate, "candidate_regimes", why);
        compare(current(&history.window_regimes), &said.windows, near_window, "window_regimes", why);
        compare(current(&history.confirmations), &said.confirmations, near_confirmation, "confirmations", why);
        compare(current(&history.drift), &said.drift, near_drift, "drift", why);
        compare(current(&history.regime_episodes), &said.episodes, near_episode, "regime_episodes", why);
    }
}

fn compare<R: Clone + PartialEq + std::fmt::Debug>(
    ours: Vec<R>,
    theirs: &[R],
    near: impl Fn(&R, &R) -> bool,
    view: &str,
    why: &str,
) {
    let aligned: Vec<R> = ours
        .into_iter()
        .enumerate()
        .map(|(i, row)| theirs.get(i).filter(|other| near(&row, other)).cloned().unwrap_or(row))
        .collect();
    assert_same(&aligned, theirs, view, why);
}

fn near(a: Real, b: Real) -> bool {
    (a.0 - b.0).abs() <= 1e-7 * a.0.abs().max(b.0.abs()).max(1e-2)
}

fn all_near(a: &[Real], b: &[Real]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(*a, *b))
}

fn near_regime(a: &Regime, b: &Regime) -> bool {
    let plain = |r: &Regime| {
        (r.instrument, r.timeframe, r.ts, r.model.clone(), r.state, r.label, r.firm, r.viterbi_state, r.viterbi_label)
    };
    plain(a) == plain(b)
        && all_near(&[a.probability, a.surprise, a.entropy], &[b.probability, b.surprise, b.entropy])
        && all_near(&a.probabilities, &b.probabilities)
        && all_near(&a.smoothed, &b.smoothed)
        && all_near(&a.forecast, &b.forecast)
        && a.expected_duration_bars.zip(b.expected_duration_bars).is_some_and(|(a, b)| near(a, b))
}

fn near_window(a: &WindowRegime, b: &WindowRegime) -> bool {
    let plain = |r: &WindowRegime| {
        (r.instrument, r.timeframe, r.ts, r.model.clone(), r.window_bars, r.state, r.label, r.labels.clone(), r.switches)
    };
    plain(a) == plain(b)
        && all_near(&a.probabilities, &b.probabilities)
        && all_near(&a.share, &b.share)
        && near(a.log_likelihood_per_bar, b.log_likelihood_per_bar)
}

fn near_confirmation(a: &Confirmation, b: &Confirmation) -> bool {
    let plain = |r: &Confirmation| (r.instrument, r.ts, r.primary, r.confirmed, r.agreeing.clone(), r.present.clone());
    plain(a) == plain(b) && near(a.confidence, b.confidence) && all_near(&a.product_posterior, &b.product_posterior)
}

fn near_drift(a: &Drift, b: &Drift) -> bool {
    let plain = |r: &Drift| (r.instrument, r.timeframe, r.ts, r.model.clone(), r.drifting);
    // Surprises are summed in billionths of a nat.
    let same = |a: Real, b: Real| (a.0 - b.0).abs() < 1e-7 || near(a, b);
    let divergence = match (a.symmetric_kl, b.symmetric_kl) {
        (Some(a), Some(b)) => near(a, b),
        (a, b) => a == b,
    };
    plain(a) == plain(b) && same(a.surprise_z, b.surprise_z) && same(a.drift_score, b.drift_score) && divergence
}

fn near_episode(a: &RegimeEpisode, b: &RegimeEpisode) -> bool {
    let plain = |r: &RegimeEpisode| (r.kind, r.instrument, r.timeframe, r.onset, r.ended_at, r.from, r.to, r.model.clone());
    plain(a) == plain(b) && near(a.strength, b.strength)
}

proptest! {
    #![proptest_config(cases(10))]
    #[test]
    fn models_say_what_the_oracle_says(hours in hours()) {
        let market = hours.market();
        let history = market.views(&market.arrivals[0], Plan::default(), true);
        check_keys(&history);
        prop_assert!(!history.regimes.is_empty(), "the market is too thin to test anything");
        let rows = [history.regimes.len(), history.candidate_regimes.len(), history.window_regimes.len()];
        println!("{rows:?} {:?}", [history.confirmations.len(), history.drift.len(), history.regime_episodes.len()]);
        market.check(&history);
    }
}

proptest! {
    #![proptest_config(cases(4))]
    #[test]
    fn neither_order_nor_workers_nor_the_moment_of_release_matter(hours in hours(), trickle in any::<bool>()) {
        let market = hours.market();
        let plain = Plan::default();
        let first = market.views(&market.arrivals[0], plain, true);
        let plan = Plan { workers: 2, spread: true, trickle, ..plain };
        market.views(&market.arrivals[0], plan, true).assert_equals(&first, "two workers");
        market.views(&market.arrivals[0], plain, false).assert_same_rows(&first, "releases in mid-stream");
        let plan = Plan { quantum_ms: 30 * DAY_MS as u64, ..plain };
        market.views(&market.arrivals[0], plan, true).assert_same_rows(&first, "one quantum");
        market.views(&market.arrivals[1], plain, false).assert_same_rows(&first, "another order of arrival");
        let twice: Vec<Arrival> = market.arrivals[0].iter().flat_map(|arrival| [arrival.clone(), arrival.clone()]).collect();
        market.views(&twice, plain, true).assert_same_rows(&first, "everything arrives twice");
    }

    #[test]
    fn nothing_is_said_before_it_is_known(hours in hours(), cut in any::<prop::sample::Index>()) {
        let market = hours.market();
        let plan = Plan::default();
        let whole = market.feed(&market.arrivals[0], plan, false);
        let cut = *cut.get(&whole.keys().copied().collect::<Vec<_>>());
        let part = whole.range(..=cut).map(|(&known_at, batches)| (known_at, batches.clone())).collect();
        let (whole, part) = (run(&config(), &market.instruments, whole, plan).0, run(&config(), &market.instruments, part, plan).0);
        whole.until(cut).assert_equals(&part, "the input was cut");
    }
}

/// A model of two states that one can follow by hand: below an RSI of 50 it is Bear, above it is Bull.
fn by_rsi(timeframe: Timeframe, active_from: i64) -> Order {
    Order {
        symbol: NAMES[0].1,
        timeframe,
        active_from,
        status: Status::Active,
        spec: Spec {
            id: ModelId { name: "rsi".into(), version: 1 },
            columns: vec![3],
            scaling: vec![(50.0, 20.0)],
            transition: vec![vec![0.9, 0.1], vec![0.1, 0.9]],
            means: vec![vec![-1.0], vec![1.0]],
            variances: vec![vec![0.25], vec![0.25]],
            labels: vec![Label::Bear, Label::Bull],
            trained_to: None,
            drift: None,
        },
    }
}

#[test]
fn a_market_that_falls_and_then_rises_is_bear_and_then_bull() {
    // Three hours down, three hours up, a trade each half minute.
    let trades = (0..720).map(|i| (0u8, if i < 360 { -10 } else { 10 }, 0u32)).collect();
    let hours = Hours { minutes: 360, trades, outages: Vec::new(), models: Vec::new(), turns: [0; 3], trained: false };
    let mut market = hours.quiet_market();
    market.orders = vec![by_rsi(Timeframe::M5, START + 100 * MINUTE_MS)];
    market.orders[0].spec.drift = Some((6, 50.0, 1.0));
    let history = market.views(&market.arrivals[0], Plan::default(), true);
    market.check(&history);
    let rows = current(&history.regimes);
    assert_eq!(rows[0].ts, START + 100 * MINUTE_MS, "nothing is said of bars before it was released");
    assert_eq!(rows[0].label, Some(Label::Bear));
    assert_eq!(rows.last().unwrap().label, Some(Label::Bull));
    let episodes = current(&history.regime_episodes);
    let told: Vec<_> = episodes.iter().map(|e| (e.kind, e.from, e.to, e.ended_at)).collect();
    assert_eq!(told, [(EpisodeKind::Change, Some(Label::Bear), Some(Label::Bull), None)]);
    // Three hours are over at minute 180; Wilder's RSI of 14 bars of 5m needs some to turn.
    let minutes = (episodes[0].onset - START) / MINUTE_MS;
    assert!((185..=300).contains(&minutes), "{minutes}");
    // An RSI of 0 and nothing else, 2.5 deviations below the training mean, has no variance to compare; when the market turns it has.
    let divergence = |from: i64, to: i64| -> Vec<Option<f64>> {
        let of = |row: &Drift| row.symmetric_kl.map(|nats| nats.0);
        current(&history.drift).iter().filter(|row| (from..to).contains(&((row.ts - START) / MINUTE_MS))).map(of).collect()
    };
    assert!(divergence(130, 175).iter().all(Option::is_none) && divergence(130, 175).len() == 9);
    assert!(divergence(205, 250).iter().all(|nats| nats.is_some_and(|nats| nats > 1.0)) && divergence(205, 250).len() == 9);
}

#[test]
fn without_models_there_is_nothing() {
    let hours = Hours {
        minutes: 60,
        trades: vec![(0, 5, 0); 120],
        outages: Vec::new(),
        models: Vec::new(),
        turns: [0; 3],
        trained: false,
    };
    let market = hours.quiet_market();
    let history = market.views(&market.arrivals[0], Plan::default(), true);
    assert!(!history.features.is_empty() && history.regimes.is_empty() && history.regime_episodes.is_empty());
}

/// All filters of 500 symbols and six time frames at a midnight: `cargo test --profile ci -p dataflows --test views -- --ignored --nocapture filters`.
#[test]
#[ignore = "a figure, not a test"]
fn all_filters_advance_within_milliseconds() {
    use dataflows::regimes::Advance;
    let order = by_rsi(Timeframe::M1, 0);
    let mut spec = order.spec.clone();
    spec.columns = vec![0, 1, 2, 3];
    spec.scaling = vec![(0.0, 0.002), (0.0, 1.0), (-6.5, 1.0), (50.0, 20.0)];
    spec.means = (0..3).map(|s| vec![f64::from(s) - 1.0; 4]).collect();
    spec.variances = vec![vec![0.5; 4]; 3];
    spec.transition = vec![vec![0.9, 0.05, 0.05], vec![0.05, 0.9, 0.05], vec![0.05, 0.05, 0.9]];
    spec.labels = vec![Label::Bear, Label::Chop, Label::Bull];
    let symbols = 500;
    let timeframes = [Timeframe::M1, Timeframe::M15, Timeframe::H1, Timeframe::H4, Timeframe::D1, Timeframe::W1];
    let mut config = Config::default();
    config.regimes.timeframes = timeframes.to_vec();
    config.regimes.window_timeframes = Vec::new();
    let instruments = Arc::new(Instruments::default());
    let ids: Vec<InstrumentId> =
        (0..symbols).map(|i| instruments.intern(Venue::BinanceUsdm, &format!("S{i}-USDT-PERP")).unwrap()).collect();
    let mut advance = Advance::new(&config, Arc::clone(&instruments));
    let model = release(&Order { spec, ..order }).model;
    for (i, timeframe) in (0..symbols).flat_map(|i| timeframes.map(|timeframe| (i, timeframe))) {
        let symbol = format!("S{i}-USDT-PERP").into();
        advance.release(Release { symbol, timeframe, active_from: 0, status: Status::Active, model: Arc::clone(&model) });
    }
    let (mut all, mut minutes) = (Vec::new(), Vec::new());
    for bar in 0..400i64 {
        // Every other minute is one in which longer frames close as well; in the others nothing but 1m bars does.
        let (closing, times) = if bar % 2 == 0 { (&timeframes[..], &mut all) } else { (&timeframes[..1], &mut minutes) };
        let row = |instrument: InstrumentId, timeframe: Timeframe| {
            let wave = ((bar * 37 + instrument.0 as i64 % 91) % 61) as f64 / 30.0 - 1.0;
            let ts = timeframe.open_of(START) + bar * timeframe.ms();
            let values = [0.002 * wave, wave, wave - 6.5, 50.0 + 20.0 * wave, 0.0, 0.0, 25.0, wave, 9.0, 0.0, 0.01 * wave, wave];
            Features { instrument, timeframe, ts, values: values.map(|v| Some(Real(v))) }
        };
        let rows: Vec<Change<Features>> =
            ids.iter().flat_map(|&id| closing.iter().map(move |&timeframe| (row(id, timeframe), bar as u64, 1))).collect();
        let began = std::time::Instant::now();
        let said = advance.bars(rows);
        times.push(began.elapsed());
        assert_eq!(said, 500 * closing.len(), "one row of each filter");
    }
    for (what, times) in [("500 filters of 1m bars", &mut minutes), ("all 3000 filters at once", &mut all)] {
        times.drain(..150);
        times.sort();
        println!("{what}, rows included: median {:?}, slowest {:?}", times[25], times[49]);
    }
}
