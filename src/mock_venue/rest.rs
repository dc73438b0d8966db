//! REST answers out of the log's `http` frames, found by path and query; what else is asked about the past is answered out of
//! the [`Archive`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::archive::{Answer, Archive};

/// How many answers of one address wait to be asked for.
const QUEUE_MAX: usize = 4_096;
/// How long a question waits for its turn, with [`RestMode::Gate`].
const TURN_MAX: Duration = Duration::from_secs(8);

/// Which recorded answer a question gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RestMode {
    /// The last one that playback has passed.
    #[default]
    Latest,
    /// The next one that was not given yet, of those that playback has passed.
    Sequential,
    /// The next one, and playback waits at it until it was asked for: the client then hears everything in the recorded
    /// order. Addresses that the client never asked for don't hold anything up.
    Gate,
}

#[derive(Debug, Default)]
struct Answers {
    passed: HashMap<String, VecDeque<String>>,
    asked: HashSet<String>,
}

/// The recorded answers.
#[derive(Debug, Default)]
pub struct Rest {
    mode: RestMode,
    answers: Mutex<Answers>,
    changed: Notify,
    /// What playback has passed.
    pub archive: Archive,
    /// Answers out of it.
    pub about_the_past: AtomicU64,
}

impl Rest {
    /// No answers yet.
    pub fn new(mode: RestMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Playback passes an `http` frame. Says false if it has no address, or if nobody asked for it in time.
    pub async fn pass(&self, payload: &str, patience: Duration) -> bool {
        let Some((url, body)) = payload.split_once(' ').filter(|(url, _)| url.contains("://")) else { return false };
        self.archive.pass_answer(url, body);
        let path = path_of(url).to_owned();
        let hold = {
            let mut answers = self.lock();
            let queue = answers.passed.entry(path.clone()).or_default();
            if self.mode == RestMode::Latest || queue.len() >= QUEUE_MAX {
                queue.pop_front();
            }
            queue.push_back(body.to_owned());
            self.mode == RestMode::Gate && answers.asked.contains(&path)
        };
        self.changed.notify_waiters();
        if !hold {
            return true;
        }
        let taken = async {
            loop {
                let changed = self.changed.notified();
                if self.lock().passed.get(&path).is_none_or(VecDeque::is_empty) {
                    return;
                }
                changed.await;
            }
        };
        timeout(patience, taken).await.is_ok()
    }

    /// The answer to a question. `None`: there is none.
    pub async fn answer(&self, path: &str) -> Option<Answer> {
        if path.ends_with("/ping") {
            return Some((200, "{}".into()));
        }
        let is_recorded = self.lock().passed.contains_key(path);
        if let Some(answer) = (!is_recorded).then(|| self.archive.answer(path)).flatten() {
            self.about_the_past.fetch_add(1, Ordering::Relaxed);
            return Some(answer);
        }
        self.lock().asked.insert(path.to_owned());
        let turn = async {
            loop {
                let changed = self.changed.notified();
                if let Some(body) = self.take(path) {
                    return body;
                }
                changed.await;
            }
        };
        let patience = if self.mode == RestMode::Gate { TURN_MAX } else { Duration::ZERO };
        let body = match self.take(path) {
            Some(body) => Some(body),
            None => timeout(patience, turn).await.ok(),
        };
        self.changed.notify_waiters();
        body.map(|body| (200, body))
    }

    fn take(&self, path: &str) -> Option<String> {
        let mut answers = self.lock();
        let queue = answers.passed.get_mut(path)?;
        if self.mode == RestMode::Latest { queue.back().cloned() } else { queue.pop_front() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Path and query of an address, without a `?&` that some clients write.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}
