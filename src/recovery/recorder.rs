//! The recorder: between the collector and the keeper. What entered is durable before what follows from it goes on; with several processes, in all of them
//! ([`super::in_step`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::Receiver;
use dataflows::keeping::SavedState;
use dataflows::model::Instruments;
use journal::{GroupSync, Refused, Seq};

use super::Entry;
use super::in_step::InStep;
use super::ongoing::Ongoing;
use super::record::Encoder;
use super::restore::{Opened, Past};
use super::snapshots::{About, Cut};
use crate::crash;
use crate::engine::{Agreement, Bundle, Collector, Next};
use crate::rules::Rules;
use crate::store::Quantum;
use crate::store::edge::EdgeRow;

/// How often is looked whether the disk has finished, while something waits for it.
pub(super) const LOOK: Duration = Duration::from_millis(1);
/// Quanta that wait for the disk. (Beyond them the engine waits, and with it the feeds.)
pub(super) const HELD_MAX: usize = 256;
/// A disk that takes nothing for so long is told of.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A quantum that may go on: what entered in it is durable.
#[derive(Debug, Default)]
pub struct Entered {
    /// Its changes and the edge's rows.
    pub quantum: Quantum,
    /// From here on these rules count.
    pub rules: Option<Rules>,
    /// An earlier run has told and stored it, and it is only remembered.
    pub is_past: bool,
    /// The journal's record that it ends with; 0: none.
    pub seq: Seq,
    /// A snapshot is to be made of what is after it.
    pub cut: Option<Box<Cut>>,
}

/// How far earlier runs reach; shared with whoever restores them.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Quanta before this are in the journal already.
    recorded_before: AtomicU64,
    /// Quanta before this are only remembered.
    remembered_before: u64,
}

impl Bounds {
    /// Everything comes of earlier runs until [`Self::restored`] says otherwise.
    pub fn restoring(remembered_to: Option<u64>) -> Self {
        Self { recorded_before: AtomicU64::new(u64::MAX), remembered_before: remembered_to.map_or(0, |to| to + 1) }
    }

    /// What comes after `known_at` is new; everything, if there was no earlier run. To be said before it comes.
    pub fn restored(&self, known_at: Option<u64>) {
        self.recorded_before.store(known_at.map_or(0, |to| to + 1), Ordering::Release);
    }
}

/// Writes a journal's records.
pub(super) struct Writing {
    pub sync: Arc<GroupSync>,
    pub encoder: Encoder,
    pub instruments: Arc<Instruments>,
    pub bounds: Arc<Bounds>,
    pub held: VecDeque<Entered>,
    /// The last record.
    pub last: Seq,
    /// What goes on beside the dataflow.
    pub ongoing: Ongoing,
    /// The run is to end, and a disk that fails is not waited for beyond this.
    pub end_at: Arc<OnceLock<Instant>>,
    /// With several processes.
    pub in_step: Option<InStep>,
}

/// See the module.
pub struct Recorder {
    pub(super) collector: Collector,
    from_edge: Receiver<EdgeRow>,
    new_rules: Receiver<Rules>,
    pub(super) writing: Option<Writing>,
}

impl Recorder {
    /// Writes into the journal that was opened, and hands out what earlier runs left in it. Without one, quanta go on as they come. `agreement`: with
    /// those of other processes.
    #[must_use]
    pub fn of(
        opened: Option<Opened>,
        collector: Collector,
        from_edge: Receiver<EdgeRow>,
        new_rules: Receiver<Rules>,
        agreement: Option<Agreement>,
    ) -> (Option<Past>, Self) {
        let in_step = agreement.map(InStep::new);
        let (past, writing) = opened.map(|Opened { writing, past, .. }| (past, Writing { in_step, ..writing })).unzip();
        (past, Self { collector, from_edge, new_rules, writing })
    }

    /// The next quantum; waits for it, and for the disk. `None`: the workers have finished and everything was read.
    ///
    /// # Errors
    /// If the journal can't go on (what fails for a while, a full disk say, is waited for).
    pub fn next_quantum(&mut self) -> anyhow::Result<Option<Entered>> {
        if self.writing.as_ref().is_some_and(|writing| writing.in_step.is_some()) {
            return self.next_in_step();
        }
        let mut tries = 0;
        loop {
            let mut patience = None;
            if let Some(writing) = &mut self.writing
                && let Some(first) = writing.held.front()
            {
                if writing.sync.durable() >= first.seq {
                    return Ok(writing.let_go());
                }
                patience = Some(LOOK);
                if writing.held.len() >= HELD_MAX {
                    if !writing.sync.wait_durable(first.seq, PATIENCE) {
                        tries += 1;
                        writing.bear_with_it(tries)?;
                    }
                    continue;
                }
            }
            match self.collector.next(patience) {
                Next::Bundle(bundle) => {
                    if let Some(entered) = self.take(*bundle)? {
                        return Ok(Some(entered));
                    }
                }
                Next::Nothing => {}
                Next::End => return self.last(),
            }
        }
    }

    /// The journal, for who asks how it is doing.
    #[must_use]
    pub fn journal(&self) -> Option<Arc<GroupSync>> {
        self.writing.as_ref().map(|writing| Arc::clone(&writing.sync))
    }

    /// Set, it says until when a disk that fails is waited for.
    #[must_use]
    pub fn end_at(&self) -> Arc<OnceLock<Instant>> {
        self.writing.as_ref().map(|writing| Arc::clone(&writing.end_at)).unwrap_or_default()
    }

    /// As [`Collector::take_in`].
    pub fn take_in(&mut self) {
        self.collector.take_in();
    }

    /// What the edge said after the last quantum.
    #[must_use]
    pub fn rest(&self) -> Vec<EdgeRow> {
        self.from_edge.try_iter().collect()
    }

    /// The workers are done: what is held waits for the disk.
    fn last(&mut self) -> anyhow::Result<Option<Entered>> {
        let Some(writing) = &mut self.writing else { return Ok(None) };
        let Some(first) = writing.held.pop_front() else { return Ok(None) };
        let mut tries = 0;
        while !writing.sync.wait_durable(first.seq, PATIENCE) {
            tries += 1;
            writing.bear_with_it(tries)?;
        }
        Ok(Some(first))
    }

    pub(super) fn take(&mut self, mut bundle: Bundle) -> anyhow::Result<Option<Entered>> {
        let bounds = self.writing.as_ref().map(|writing| &writing.bounds);
        let is_recorded = bounds.is_some_and(|bounds| bundle.known_at < bounds.recorded_before.load(Ordering::Acquire));
        let is_past = bounds.is_some_and(|bounds| bundle.known_at < bounds.remembered_before);
        if !is_recorded {
            bundle.entries.extend(self.from_edge.try_iter().map(Entry::Row));
            bundle.entries.extend(self.new_rules.try_iter().last().map(Entry::Rules));
        }
        let states = std::mem::take(&mut bundle.states);
        let (mut seq, mut cut) = (0, None);
        if let Some(writing) = &mut self.writing {
            writing.ongoing.hear(&bundle.clocks);
            for entry in &bundle.entries {
                if let Entry::Row(row) = entry {
                    writing.ongoing.see(row);
                }
            }
            if !is_recorded {
                seq = writing.append(&mut bundle, || self.collector.take_in())?;
                cut = (!states.is_empty()).then(|| Box::new(writing.cut(bundle.known_at, states)));
            }
        }
        let Bundle { known_at, changes, entries, .. } = bundle;
        let mut entered = Entered { quantum: Quantum { known_at, changes, edge: Vec::new() }, rules: None, is_past, seq, cut };
        for entry in entries {
            match entry {
                Entry::Row(row) => entered.quantum.edge.push(row),
                Entry::Rules(rules) => entered.rules = Some(rules),
            }
        }
        match &mut self.writing {
            Some(writing) if !is_recorded => {
                if writing.is_urgent(&entered.quantum) {
                    writing.sync.hurry();
                }
                writing.held.push_back(entered);
                Ok(None)
            }
            _ => Ok(Some(entered)),
        }
    }
}

impl Writing {
    /// The first quantum goes on.
    pub fn let_go(&mut self) -> Option<Entered> {
        crash::point("journal: durable");
        self.held.pop_front()
    }

    fn cut(&self, known_at: u64, states: Vec<SavedState>) -> Cut {
        let names = self.instruments.listed().into_iter().map(|known| (known.venue, known.symbol.clone())).collect();
        let about = About { known_at, ongoing: self.ongoing.clone(), names };
        Cut { seq: self.last, about, states, alerts: Vec::new() }
    }

    /// Answers with the quantum's last record, which is not durable yet. With several processes, whoever waits for room must take in
    /// `meanwhile` what this process's workers say.
    pub fn append(&mut self, bundle: &mut Bundle, mut meanwhile: impl FnMut()) -> anyhow::Result<Seq> {
        crash::point("journal: before append");
        for (kind, payload) in self.encoder.encode(bundle, &self.instruments).context("writing a record of the journal")? {
            let wait = if self.in_step.is_some() { LOOK } else { PATIENCE };
            let (mut waits, mut tries) = (0, 0);
            self.last = loop {
                match self.sync.append_within(bundle.known_at, kind, &payload, wait) {
                    Ok(seq) => break seq,
                    Err(Refused::Full { .. }) => {
                        waits += 1;
                        if wait * waits >= PATIENCE * (tries + 1) {
                            tries += 1;
                            self.bear_with_it(tries)?;
                        }
                        if let Some(in_step) = &self.in_step {
                            in_step.goes_on()?;
                            meanwhile();
                        }
                    }
                    Err(refused) => return Err(refused).context("writing a record of the journal"),
                }
            };
        }
        if let Some(in_step) = &mut self.in_step {
            in_step.recorded(self.last, bundle.known_at);
        }
        crash::point("journal: appended");
        // A quantum without a record of its own must not overtake the ones before it.
        Ok(self.last)
    }

    /// Somebody may be waiting to hear of it.
    fn is_urgent(&self, quantum: &Quantum) -> bool {
        crate::announce::speaks(&quantum.changes) || quantum.edge.iter().any(|row| matches!(row, EdgeRow::Gap(_)))
    }

    /// The disk takes nothing. It is waited for, until the run is to end.
    pub fn bear_with_it(&self, tries: u32) -> anyhow::Result<()> {
        if let Some(end) = self.end_at.get()
            && *end <= Instant::now()
        {
            let (reached, reason) = (self.sync.durable(), self.sync.health().failing.map_or("it is slow".into(), |(_, why)| why));
            anyhow::bail!(
                "the journal's disk took nothing for too long ({reason}): what came after record {reached} is lost, and neither told nor stored; the next run asks the venues for it"
            );
        }
        if tries.is_power_of_two() {
            let health = self.sync.health();
            let (attempts, reason) = health.failing.unwrap_or((0, "the disk is slow".into()));
            let (waiting_bytes, waiting_ms) = (health.waiting_bytes, health.waiting.unwrap_or_default().as_millis());
            tracing::error!(
                waiting_bytes,
                waiting_ms,
                attempts,
                reason,
                "the journal can't be written: everything waits until its disk takes it again"
            );
        }
        Ok(())
    }
}
