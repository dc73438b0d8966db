//! Keeping states: how a snapshot of the running dataflow is taken, and given back after a restart.
//!
//! Operators see quanta whole and in order, so what each of them holds after one and the same quantum is one consistent cut of all. A record
//! [`Clock::Save`](crate::model::Clock::Save) reaches every operator in the same quantum; having worked it off, each writes its state:
//! first what every worker has alike (watermarks), then part by part what it keeps of one instrument, symbol or market.
//! A part bears the id by whose hash rows find their worker, so any number of workers takes what any other number has saved: each reads
//! all, and takes what is its own. A restored operator goes on to the bit, open episodes and what was last said of open bars included.
//!
//! States are written by postcard, which knows no names of fields. So [`VERSION`] must rise with every change of a type that is saved, and a
//! change of the configuration makes old states void too: whoever keeps them asks for both ([`fingerprint`]).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::model::{EpisodeKind, InstrumentId, Timeframe, fnv1a};
use crate::operators::KnownAt;

/// Of the states' form.
pub const VERSION: u32 = 1;

/// What a state of another program or configuration doesn't have: states go only where it is equal.
#[must_use]
pub fn fingerprint(config: &Config) -> String {
    format!("states {VERSION}, views {:016x}", fnv1a(format!("{config:?}").bytes()))
}

/// The state of one operator on one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// After which quantum.
    pub known_at: KnownAt,
    /// The operator.
    pub view: String,
    /// The worker.
    pub worker: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// States by operator, one of each worker that there was.
pub type States = BTreeMap<String, Vec<Vec<u8>>>;

/// Takes states that were saved.
pub type Keep = Arc<dyn Fn(SavedState) + Send + Sync>;

/// Which worker has the rows of which hash.
///
/// With several processes the process depends on how many of them there are, and not on their number of workers: each keeps states of its own, and may go on from
/// them with another number. (Timely numbers workers process by process.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    processes: u64,
    /// Of each process.
    threads: u64,
}

impl Default for Places {
    fn default() -> Self {
        Self { processes: 1, threads: 1 }
    }
}

impl Places {
    /// What timely is to exchange by: it takes it modulo the number of workers.
    #[inline]
    pub fn of(self, hash: u64) -> u64 {
        if self.processes == 1 {
            return hash;
        }
        hash % self.processes * self.threads + hash / self.processes % self.threads
    }
}

/// Where one worker's operators load from, while they are built: the old states go with it.
#[derive(Clone, Default)]
pub struct Keeping {
    saver: Saver,
    workers: usize,
    places: Places,
    past: Arc<States>,
    failed: Arc<Mutex<Option<String>>>,
}

/// Where one worker's operators save to.
#[derive(Clone, Default)]
pub(crate) struct Saver {
    worker: usize,
    keep: Option<Keep>,
}

impl Keeping {
    /// Of worker `worker` of `workers`. `past`: empty at a first start.
    #[must_use]
    pub fn new(worker: usize, workers: usize, keep: Keep, past: Arc<States>) -> Self {
        Self { saver: Saver { worker, keep: Some(keep) }, workers, places: Places::default(), past, failed: Arc::default() }
    }

    /// The workers are those of so many processes, each of which has as many.
    #[must_use]
    pub fn of_processes(self, processes: usize) -> Self {
        let places = Places { processes: processes.max(1) as u64, threads: (self.workers / processes.max(1)).max(1) as u64 };
        Self { places, ..self }
    }

    /// Where rows of a hash go.
    pub(crate) fn places(&self) -> Places {
        self.places
    }

    /// What an operator keeps of it.
    pub(crate) fn saver(&self) -> Saver {
        self.saver.clone()
    }

    /// Why a state could not be taken over, if any could not.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives an operator what was saved of it.
    pub(crate) fn load<V: Kept>(&self, view: &str, state: &mut V) {
        let Some(parts) = self.past.get(view) else { return };
        let mut load = Load { parts: parts.iter().map(|bytes| Part { rest: bytes, has_shared: true }).collect(), keeping: self };
        if let Err(error) = state.load(&mut load) {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| format!("the saved state of {view} can't be read: {error}"));
        }
    }

    fn is_mine(&self, id: InstrumentId) -> bool {
        self.places.of(id.0) % self.workers.max(1) as u64 == self.saver.worker as u64
    }
}

impl Saver {
    /// Writes an operator's state.
    pub fn save<V: Kept>(&self, known_at: KnownAt, view: &str, state: &V) {
        let Some(keep) = &self.keep else { return };
        let mut save = Save::default();
        state.save(&mut save);
        keep(SavedState { known_at, view: view.to_owned(), worker: self.worker, bytes: save.bytes });
    }
}

/// An operator's state.
pub trait Kept {
    /// Writes it.
    fn save(&self, save: &mut Save);
    /// Takes over what was written; what belongs to other workers does not come.
    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error>;
}

/// Where a state is written to.
#[derive(Default)]
pub struct Save {
    bytes: Vec<u8>,
}

impl Save {
    /// What every worker has alike. At most once, and first.
    pub fn shared(&mut self, value: &impl Serialize) {
        self.write(None, value);
    }

    /// What belongs to the worker of `id`.
    pub fn part(&mut self, id: InstrumentId, value: &impl Serialize) {
        if self.bytes.is_empty() {
            self.shared(&());
        }
        self.write(Some(id), value);
    }

    fn write(&mut self, id: Option<InstrumentId>, value: &impl Serialize) {
        self.bytes.extend(id.map(|id| id.0.to_le_bytes()).into_iter().flatten());
        let at = self.bytes.len();
        self.bytes.extend([0; 8]);
        // Only a `Serialize` that fails by itself can make this fail, and no state has one.
        if let Ok(bytes) = postcard::to_extend(value, std::mem::take(&mut self.bytes)) {
            self.bytes = bytes;
            let length = (self.bytes.len() - at - 8) as u64;
            self.bytes[at..at + 8].copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// Where a state is read from.
pub struct Load<'a> {
    parts: Vec<Part<'a>>,
    keeping: &'a Keeping,
}

struct Part<'a> {
    rest: &'a [u8],
    has_shared: bool,
}

impl<'a> Part<'a> {
    fn number(&mut self) -> Result<u64, postcard::Error> {
        let (number, rest) = self.rest.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn value(&mut self) -> Result<&'a [u8], postcard::Error> {
        let length = usize::try_from(self.number()?).map_err(|_| postcard::Error::DeserializeUnexpectedEnd)?;
        let (value, rest) = self.rest.split_at_checked(length).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(value)
    }

    fn shared(&mut self) -> Result<Option<&'a [u8]>, postcard::Error> {
        if !std::mem::take(&mut self.has_shared) || self.rest.is_empty() {
            return Ok(None);
        }
        self.value().map(Some)
    }
}

impl Load<'_> {
    /// What every worker had alike.
    pub fn shared<T: DeserializeOwned>(&mut self) -> Result<Option<T>, postcard::Error> {
        let mut first = None;
        for part in &mut self.parts {
            let shared = part.shared()?;
            first = first.or(shared);
        }
        first.map(postcard::from_bytes).transpose()
    }

    /// The next part that is this worker's; `None` after the last.
    pub fn part<T: DeserializeOwned>(&mut self) -> Result<Option<(InstrumentId, T)>, postcard::Error> {
        while let Some(part) = self.parts.last_mut() {
            part.shared()?;
            if part.rest.is_empty() {
                self.parts.pop();
                continue;
            }
            let id = InstrumentId(part.number()?);
            let value = part.value()?;
            if self.keeping.is_mine(id) {
                return Ok(Some((id, postcard::from_bytes(value)?)));
            }
        }
        Ok(None)
    }
}

/// There is nothing to keep.
impl Kept for () {
    fn save(&self, _save: &mut Save) {}
    fn load(&mut self, _load: &mut Load<'_>) -> Result<(), postcard::Error> {
        Ok(())
    }
}

/// By whose hash rows of this key find their worker.
pub trait Routed {
    /// Whose hash.
    fn route(&self) -> InstrumentId;
}

impl Routed for InstrumentId {
    fn route(&self) -> InstrumentId {
        *self
    }
}

impl Routed for (InstrumentId, Timeframe) {
    fn route(&self) -> InstrumentId {
        self.0
    }
}

impl Routed for (EpisodeKind, InstrumentId, Option<Timeframe>) {
    fn route(&self) -> InstrumentId {
        self.1
    }
}

impl<K, X, S> Kept for std::collections::HashMap<K, X, S>
where
    K: Routed + Hash + Eq + Serialize + DeserializeOwned,
    X: Serialize + DeserializeOwned,
    S: BuildHasher,
{
    fn save(&self, save: &mut Save) {
        self.iter().for_each(|entry| save.part(entry.0.route(), &entry));
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        while let Some((_, (key, value))) = load.part()? {
            self.insert(key, value);
        }
        Ok(())
    }
}

/// A map as a state has it.
pub(crate) type ById<X> = FxHashMap<InstrumentId, X>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_its_instruments_whatever_its_workers() {
        let places = |processes, threads| Places { processes, threads };
        for hash in (0..1_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            for processes in 2..5 {
                for threads in 1..5 {
                    let worker = places(processes, threads).of(hash);
                    assert!(worker < processes * threads, "{worker} of {processes} times {threads}");
                    assert_eq!(worker / threads, hash % processes, "the process");
                }
            }
            assert_eq!(places(1, 4).of(hash), hash, "alone it is timely's choice");
        }
        let used: std::collections::BTreeSet<u64> = (0..1_000).map(|hash| places(3, 4).of(hash)).collect();
        assert_eq!(used.len(), 12, "all workers have something to do");
    }

    #[test]
    fn each_part_has_one_worker() {
        for (processes, workers) in [(1, 3), (2, 2), (2, 4), (3, 6)] {
            let keeping = |worker| Keeping::new(worker, workers, Arc::new(|_| ()), Arc::default()).of_processes(processes);
            for id in (0..100).map(InstrumentId) {
                assert_eq!((0..workers).filter(|worker| keeping(*worker).is_mine(id)).count(), 1, "{id:?}");
            }
        }
    }
}
