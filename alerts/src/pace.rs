//! When a channel may send: token buckets that hold a [`Pace`] in *every* span, and what the receiver itself asked for.
//!
//! A limit of n messages in a span becomes a bucket of n/4 that fills up with the other 3n/4 a span, so no span, wherever it begins,
//! sees more than n; and after a burst the next slot is never further away than a small part of the span, which is what an urgent message needs.
//! What isn't urgent leaves half of each bucket to what is.

use std::time::Duration;

use crate::channels::Pace;

/// Spans are taken so much longer than stated: messages don't arrive as evenly as they are sent.
const MARGIN: f64 = 1.05;
const MARGIN_MS: f64 = 25.0;

/// A channel's buckets.
#[derive(Clone, Debug)]
pub struct Pacer {
    buckets: Vec<Bucket>,
    paused_until: i64,
}

#[derive(Clone, Debug)]
struct Bucket {
    capacity: f64,
    reserve: f64,
    per_ms: f64,
    tokens: f64,
    as_of: i64,
}

impl Pacer {
    /// Full buckets, no pause.
    #[must_use]
    pub fn new(pace: &Pace) -> Self {
        let bucket = |&(messages, span): &(u32, Duration)| {
            let (messages, span_ms) = (f64::from(messages.max(1)), span.as_secs_f64() * 1_000.0 * MARGIN + MARGIN_MS);
            let capacity = (messages / 4.0).floor().max(1.0);
            // One in a span is a bucket of one that takes the whole span to fill.
            let refill = (messages - capacity).max(1.0);
            Bucket { capacity, reserve: (capacity / 2.0).floor(), per_ms: refill / span_ms, tokens: capacity, as_of: i64::MIN }
        };
        Self { buckets: pace.limits.iter().map(bucket).collect(), paused_until: i64::MIN }
    }

    /// When the next message may be sent: `now_ms` or later.
    #[must_use]
    pub fn next_slot(&self, is_urgent: bool, now_ms: i64) -> i64 {
        let slots = self.buckets.iter().map(|bucket| bucket.next_slot(is_urgent, now_ms));
        slots.fold(now_ms.max(self.paused_until), i64::max)
    }

    /// A message goes out.
    pub fn sent(&mut self, now_ms: i64) {
        for bucket in &mut self.buckets {
            bucket.tokens = bucket.tokens_at(now_ms) - 1.0;
            bucket.as_of = now_ms;
        }
    }

    /// Nothing goes out before `until_ms`.
    pub fn pause(&mut self, until_ms: i64) {
        self.paused_until = self.paused_until.max(until_ms);
    }
}

impl Bucket {
    fn tokens_at(&self, now_ms: i64) -> f64 {
        let since = now_ms.saturating_sub(self.as_of).max(0) as f64;
        (self.tokens + since * self.per_ms).min(self.capacity)
    }

    fn next_slot(&self, is_urgent: bool, now_ms: i64) -> i64 {
        let wanted = if is_urgent { 1.0 } else { 1.0 + self.reserve };
        let lacking = wanted - self.tokens_at(now_ms);
        if lacking <= 1e-9 { now_ms } else { now_ms.saturating_add((lacking / self.per_ms).ceil() as i64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as fast as it may for ten minutes and looks at every span.
    fn check(limits: &[(u32, u64)], is_urgent: bool) -> Vec<i64> {
        let pace = Pace {
            limits: limits.iter().map(|&(messages, ms)| (messages, Duration::from_millis(ms))).collect(),
            in_flight_max: 1,
            digest_above: None,
        };
        let (mut pacer, mut now, mut sent) = (Pacer::new(&pace), 1_000_000, Vec::new());
        while now < 1_600_000 {
            pacer.sent(now);
            sent.push(now);
            now = pacer.next_slot(is_urgent, now);
        }
        for &(messages, span) in limits {
            for (first, from) in sent.iter().enumerate() {
                let within = sent[first..].iter().take_while(|at| **at < from + span as i64).count();
                assert!(within <= messages as usize, "{within} messages in {span} ms, {messages} are allowed");
            }
        }
        sent
    }

    #[test]
    fn no_span_sees_more_than_its_limit_and_the_allowance_is_used() {
        for is_urgent in [true, false] {
            let discord = check(&[(5, 2_000), (30, 60_000)], is_urgent);
            assert!(discord.len() > 200, "{} in ten minutes", discord.len());
            let telegram = check(&[(1, 1_000), (20, 60_000)], is_urgent);
            assert!(telegram.len() > 120, "{} in ten minutes", telegram.len());
            // After its burst an urgent message waits 60 s / 15 at most.
            assert!(telegram.windows(2).all(|pair| pair[1] - pair[0] <= 4_500));
            assert!(check(&[(1, 1_000)], is_urgent).len() > 500);
        }
    }

    #[test]
    fn what_is_urgent_finds_a_slot_that_the_rest_may_not_take() {
        let pace = Pace { limits: vec![(40, Duration::from_secs(60))], in_flight_max: 1, digest_above: None };
        let mut pacer = Pacer::new(&pace);
        while pacer.next_slot(false, 0) == 0 {
            pacer.sent(0);
        }
        assert_eq!(pacer.next_slot(true, 0), 0);
        assert!(pacer.next_slot(false, 0) > 0);
        pacer.pause(90_000);
        assert_eq!(pacer.next_slot(true, 0), 90_000);
    }
}
