//! Which subscriptions were asked for, answered, refused. A refused request with several streams is asked again one by
//! one, so that one bad name costs only itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These streams (by number) are subscribed.
    Accepted(Vec<usize>),
    /// The request was refused as a whole and will be asked again one by one.
    Divided,
    /// This stream is refused for good.
    Refused(usize),
    /// Not an answer to anything that was asked.
    Unasked,
}

/// One connection's subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    queue: VecDeque<Vec<usize>>,
    asked: BTreeMap<u64, (Vec<usize>, Instant)>,
    accepted: usize,
    refused: usize,
}

impl Subscriptions {
    /// Streams 0 to `streams`, to be asked for in requests of at most `most`.
    #[must_use]
    pub fn new(streams: usize, most: usize) -> Self {
        let all: Vec<usize> = (0..streams).collect();
        let queue = all.chunks(most.max(1)).map(<[usize]>::to_vec).collect();
        Self { queue, asked: BTreeMap::new(), accepted: 0, refused: 0 }
    }

    /// Is there something to ask for?
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes what is asked for next, as request number `id`.
    pub fn ask(&mut self, id: u64, now: Instant) -> Option<Vec<usize>> {
        let streams = self.queue.pop_front()?;
        self.asked.insert(id, (streams.clone(), now));
        Some(streams)
    }

    /// An answer came. One that names no request belongs to the oldest.
    pub fn answered(&mut self, id: Option<u64>, refused: bool) -> Answer {
        let id = id.or_else(|| self.asked.keys().next().copied());
        let Some((streams, _)) = id.and_then(|id| self.asked.remove(&id)) else { return Answer::Unasked };
        match (refused, streams.as_slice()) {
            (false, _) => {
                self.accepted += streams.len();
                Answer::Accepted(streams)
            }
            (true, &[stream]) => {
                self.refused += 1;
                Answer::Refused(stream)
            }
            (true, _) => {
                self.queue.extend(streams.into_iter().map(|stream| vec![stream]));
                Answer::Divided
            }
        }
    }

    /// Is an answer overdue?
    #[must_use]
    pub fn overdue(&self, now: Instant, limit: Duration) -> bool {
        self.asked.values().any(|(_, at)| now.saturating_duration_since(*at) >= limit)
    }

    /// We ourselves didn't read for so long.
    pub fn excuse(&mut self, pause: Duration) {
        self.asked.values_mut().for_each(|(_, at)| *at += pause);
    }

    /// Has everything been answered?
    #[must_use]
    pub fn settled(&self) -> bool {
        self.queue.is_empty() && self.asked.is_empty()
    }

    /// How many streams are subscribed.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_is_asked_again_one_by_one() {
        let now = Instant::now();
        let mut subs = Subscriptions::new(4, 3);
        assert_eq!(subs.ask(1, now), Some(vec![0, 1, 2]));
        assert_eq!(subs.ask(2, now), Some(vec![3]));
        assert_eq!(subs.ask(3, now), None);
        assert_eq!(subs.answered(Some(2), false), Answer::Accepted(vec![3]));
        assert_eq!(subs.answered(None, true), Answer::Divided);
        assert!(!subs.settled());
        for (id, stream) in [(4, 0), (5, 1), (6, 2)] {
            assert_eq!(subs.ask(id, now), Some(vec![stream]));
        }
        assert_eq!(subs.answered(Some(5), true), Answer::Refused(1));
        assert_eq!(subs.answered(Some(5), true), Answer::Unasked);
        assert_eq!(subs.answered(Some(4), false), Answer::Accepted(vec![0]));
        assert_eq!(subs.answered(Some(6), false), Answer::Accepted(vec![2]));
        assert!(subs.settled());
        assert_eq!((subs.accepted(), subs.refused), (3, 1));
    }

    #[test]
    fn an_answer_may_be_overdue() {
        let (now, sec) = (Instant::now(), Duration::from_secs(1));
        let mut subs = Subscriptions::new(1, 10);
        assert!(!subs.overdue(now + 100 * sec, 10 * sec));
        subs.ask(1, now);
        assert!(!subs.overdue(now + 9 * sec, 10 * sec));
        assert!(subs.overdue(now + 10 * sec, 10 * sec));
        subs.excuse(5 * sec);
        assert!(!subs.overdue(now + 14 * sec, 10 * sec));
    }
}
