//! When the courier tries again, in what order, and what it reports: on a scripted channel, in virtual time.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alerts::deliver::{Attempt, AttemptResult, Channel, Courier, Message, Options, Outcome, Refused, Verdict};
use alerts::{Event, EventType, Regime, VolatilityFacts};
use tokio::time::{Instant, sleep};

const DELIVERED: Verdict = Verdict::Delivered;
const LATER: Verdict = Verdict::Retry { after: None };
const fn after(secs: u64) -> Verdict {
    Verdict::Retry { after: Some(Duration::from_secs(secs)) }
}

/// Answers each event by its script (the last line repeats), `takes` after it was asked.
#[derive(Clone)]
struct Scripted {
    scripts: Arc<Mutex<HashMap<String, VecDeque<Verdict>>>>,
    /// (seconds since the start, key)
    sent: Arc<Mutex<Vec<(f64, String)>>>,
    start: Instant,
    takes: Duration,
}

impl Channel for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn send(&self, message: &Message, _now_ms: i64) -> Outcome {
        self.sent.lock().unwrap().push((self.start.elapsed().as_secs_f64(), message.idempotency_key()));
        sleep(self.takes).await;
        assert!(!message.body.contains("panic"), "told to panic");
        let mut scripts = self.scripts.lock().unwrap();
        let script = scripts.entry(message.event_id.clone()).or_default();
        let verdict = if script.len() > 1 { script.pop_front() } else { script.front().copied() }.unwrap_or(DELIVERED);
        let http_status = match verdict {
            Verdict::Delivered => 200,
            Verdict::Retry { .. } => 503,
            Verdict::Failed => 400,
            Verdict::Gone => 410,
        };
        Outcome { verdict, http_status, reason: String::new() }
    }
}

/// A channel, its courier, and what was reported.
struct Story {
    channel: Scripted,
    courier: Courier,
    reported: Arc<Mutex<Vec<Attempt>>>,
}

fn story(takes: Duration, options: Options) -> Story {
    let channel = Scripted { scripts: Arc::default(), sent: Arc::default(), start: Instant::now(), takes };
    let reported: Arc<Mutex<Vec<Attempt>>> = Arc::default();
    let start = Instant::now();
    let clock = Arc::new(move || 1_723_075_200_000 + i64::try_from(start.elapsed().as_millis()).unwrap());
    let sink = Arc::clone(&reported);
    let courier = Courier::start(channel.clone(), options, clock, Arc::new(move |attempt| sink.lock().unwrap().push(attempt)));
    Story { channel, courier, reported }
}

/// An event whose id is told by its number.
fn event(n: i64) -> Event {
    Event::volatility_regime_change(VolatilityFacts {
        venue: "binance-usdm".into(),
        symbol: "BTC-USDT-PERP".into(),
        ts_ms: n,
        known_at_ms: n,
        from: Regime::Stable,
        to: Regime::HighVol,
        close_to_close: 0.02,
        parkinson: None,
        risk_multiplier_before: 0.7,
        risk_multiplier: 1.2,
    })
}

impl Story {
    fn script(&self, event: &Event, verdicts: &[Verdict]) {
        self.channel.scripts.lock().unwrap().insert(event.id.clone(), verdicts.iter().copied().collect());
    }

    fn results(&self, event: &Event) -> Vec<(u32, AttemptResult)> {
        let reported = self.reported.lock().unwrap();
        reported.iter().filter(|a| a.event_id == event.id).map(|a| (a.attempt, a.result)).collect()
    }

    fn times(&self) -> Vec<f64> {
        self.channel.sent.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }
}

fn within(times: &[f64], expected: &[(f64, f64)]) {
    assert_eq!(times.len(), expected.len(), "{times:?}");
    for (at, (low, high)) in times.iter().zip(expected) {
        assert!((low..=high).contains(&at), "{at} is not in {low}..={high}: {times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_work_later_is_tried_again_by_the_schedule() {
    let story = story(Duration::ZERO, Options::default());
    let event = event(1);
    story.script(&event, &[LATER, LATER, DELIVERED]);
    assert_eq!(story.courier.enqueue(&event), Ok(true));
    sleep(Duration::from_secs(60)).await;
    within(&story.times(), &[(0.0, 0.01), (4.0, 6.1), (16.0, 24.2)]);
    let expected = [(1, AttemptResult::Retry), (2, AttemptResult::Retry), (3, AttemptResult::Delivered)];
    assert_eq!(story.results(&event), expected);
    let last = story.reported.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.channel.as_str(), last.http_status), ("scripted", 200));
    assert!((16_000.0..24_200.0).contains(&last.latency_ms), "{last:?}");
    assert!((1_723_075_216_000..1_723_075_224_200).contains(&last.sent_at_ms), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_receiver_asks_for_is_kept() {
    let story = story(Duration::ZERO, Options::default());
    let event = event(1);
    story.script(&event, &[after(120), after(0), DELIVERED]);
    story.courier.enqueue(&event).unwrap();
    sleep(Duration::from_secs(200)).await;
    // The wish for no pause at all does not beat the schedule's second step, 15 s.
    within(&story.times(), &[(0.0, 0.01), (120.0, 120.01), (132.0, 138.1)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_when_it_is_too_old() {
    let story = story(Duration::ZERO, Options::default());
    let (dead, patient) = (event(1), event(2));
    story.script(&dead, &[LATER]);
    story.script(&patient, &[after(1_801)]);
    story.courier.enqueue(&dead).unwrap();
    story.courier.enqueue(&patient).unwrap();
    sleep(Duration::from_secs(4_000)).await;
    assert_eq!(story.results(&patient), [(1, AttemptResult::Failed)]);
    let results = story.results(&dead);
    assert_eq!(results.last().map(|r| r.1), Some(AttemptResult::Failed), "{results:?}");
    assert!((7..=11).contains(&results.len()), "{results:?}");
    assert!(story.times().iter().all(|at| *at <= 1_800.0), "{:?}", story.times());
    assert!(story.reported.lock().unwrap().last().unwrap().reason.contains("given up"));
}

#[tokio::test(start_paused = true)]
async fn events_about_the_same_thing_keep_their_order_and_hold_up_nobody_else() {
    let story = story(Duration::from_millis(100), Options::default());
    let (cascade, other) = (event(1), event(2));
    story.script(&cascade, &[LATER, DELIVERED]);
    story.courier.enqueue(&cascade).unwrap();
    story.courier.enqueue(&cascade.clone().resolved(5, 6)).unwrap();
    story.courier.enqueue(&other).unwrap();
    sleep(Duration::from_secs(30)).await;
    let keys: Vec<_> = story.channel.sent.lock().unwrap().iter().map(|(_, key)| key.clone()).collect();
    let (firing, resolved) = (format!("{}_firing", cascade.id), format!("{}_resolved", cascade.id));
    assert_eq!(keys, [firing.clone(), format!("{}_firing", other.id), firing, resolved]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_every_refusal_reported() {
    let story = story(Duration::from_secs(1), Options { queue_max: 3, ..Options::default() });
    for n in 0..3 {
        assert_eq!(story.courier.enqueue(&event(n)), Ok(true));
    }
    assert_eq!(story.courier.enqueue(&event(3)), Err(Refused::Full { max: 3 }));
    assert_eq!(story.results(&event(3)), [(0, AttemptResult::Failed)]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(story.courier.enqueue(&event(4)), Ok(true), "there is room again after delivery");
    assert_eq!(story.courier.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(story.channel.sent.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_attempts_run_at_a_time() {
    let story = story(Duration::from_secs(1), Options { in_flight_max: 2, ..Options::default() });
    (0..5).for_each(|n| assert_eq!(story.courier.enqueue(&event(n)), Ok(true)));
    assert_eq!(story.courier.drain(Duration::from_secs(60)).await, 0);
    let times = story.channel.sent.lock().unwrap().iter().map(|(at, _)| at.floor()).collect::<Vec<_>>();
    assert_eq!(times, [0.0, 0.0, 1.0, 1.0, 2.0]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_gets_nothing_more() {
    let story = story(Duration::from_secs(1), Options { in_flight_max: 1, ..Options::default() });
    story.script(&event(1), &[Verdict::Gone]);
    story.courier.enqueue(&event(1)).unwrap();
    story.courier.enqueue(&event(2)).unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(story.courier.enqueue(&event(3)), Err(Refused::Gone));
    assert_eq!(story.results(&event(1)), [(1, AttemptResult::Gone)]);
    assert_eq!(story.results(&event(2)), [(0, AttemptResult::Failed)]);
    assert_eq!(story.results(&event(3)), [(0, AttemptResult::Failed)]);
    assert_eq!(story.times().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_retries_but_not_beyond_its_limit() {
    let story = story(Duration::from_millis(10), Options::default());
    let (slow, dead) = (event(1), event(2));
    story.script(&slow, &[LATER, DELIVERED]);
    story.script(&dead, &[LATER]);
    story.courier.enqueue(&slow).unwrap();
    story.courier.enqueue(&dead).unwrap();
    let (reported, start) = (Arc::clone(&story.reported), Instant::now());
    assert_eq!(story.courier.drain(Duration::from_secs(10)).await, 1);
    assert_eq!(start.elapsed().as_secs(), 10);
    let reported = reported.lock().unwrap();
    assert!(reported.iter().any(|a| a.event_id == slow.id && a.result == AttemptResult::Delivered));
    let last = reported.last().unwrap();
    assert_eq!((&last.event_id, last.result, last.attempt, last.http_status), (&dead.id, AttemptResult::Failed, 2, 503));
    assert!(last.reason.contains("stopped"), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_cut_by_the_drain_and_reported() {
    let story = story(Duration::from_secs(3_600), Options::default());
    story.courier.enqueue(&event(1)).unwrap();
    let reported = Arc::clone(&story.reported);
    assert_eq!(story.courier.drain(Duration::from_secs(5)).await, 1);
    assert!(reported.lock().unwrap()[0].reason.contains("the receiver may have it"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_channel_fails_its_event_only() {
    let story = story(Duration::ZERO, Options::default());
    let mut bad = event(1);
    bad.title = "panic".into();
    story.courier.enqueue(&bad).unwrap();
    story.courier.enqueue(&event(2)).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(story.results(&bad), [(1, AttemptResult::Failed)]);
    assert_eq!(story.results(&event(2)), [(1, AttemptResult::Delivered)]);
}

#[tokio::test(start_paused = true)]
async fn a_courier_carries_only_the_types_that_it_is_asked_to() {
    let story = story(Duration::ZERO, Options { event_types: vec![EventType::LiquidationCascade], ..Options::default() });
    assert_eq!(story.courier.enqueue(&event(1)), Ok(false));
    assert_eq!(story.courier.drain(Duration::from_secs(1)).await, 0);
    assert!(story.reported.lock().unwrap().is_empty());
}
