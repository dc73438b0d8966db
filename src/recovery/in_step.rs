//! The recorder of one of several processes: a quantum goes on when it is durable in all of them ([`crate::engine::Agreement`]).
//!
//! How far this process's journal goes must be told by the journal alone after a crash. So every quantum has a record, and where nothing has entered here while the
//! others went on, a *step* has: a record without anything. A step is written when the one before it is durable, so there is one at most to an fsync. When the input has
//! ended, a last step takes all journals to the same quantum.
//!
//! This process's workers are the others' workers, too, and the agreement comes through them. So whatever is waited for here, what they say is taken in
//! meanwhile; how much that can be is bounded by the pace of the input (`engine::pace`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use journal::Seq;

use super::recorder::{Entered, HELD_MAX, LOOK, PATIENCE, Recorder, Writing};
use crate::engine::{Agreement, Bundle, Next};

/// While nothing waits here, others may: so often is looked whether a step is due.
const IDLE_LOOK: Duration = Duration::from_millis(10);
/// Others may take so many times the usual patience before it is told.
const OTHERS_TRIES: u32 = 8;

/// How this process keeps in step with the others.
pub(super) struct InStep {
    agreement: Agreement,
    /// Records that are not known to be durable, each with its quantum.
    under_way: VecDeque<(Seq, u64)>,
    /// The last quantum that has a record.
    last: u64,
    has_ended: bool,
    /// What is waited for, since when, and how often that was too long.
    waiting: Option<(u64, Instant, u32)>,
}

impl InStep {
    pub fn new(agreement: Agreement) -> Self {
        let last = agreement.durable_to().saturating_sub(1);
        Self { agreement, under_way: VecDeque::new(), last, has_ended: false, waiting: None }
    }

    /// The record `seq` is on its way; with it the quantum `known_at` is complete.
    pub fn recorded(&mut self, seq: Seq, known_at: u64) {
        self.under_way.push_back((seq, known_at));
        self.last = known_at;
    }

    /// # Errors
    /// If the cluster has ended.
    pub fn goes_on(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.agreement.is_over(), "the other processes have ended");
        Ok(())
    }

    /// Tells the others what has become durable.
    fn say(&mut self, durable: Seq) {
        let mut said = None;
        while let Some((_, known_at)) = self.under_way.pop_front_if(|(seq, _)| *seq <= durable) {
            said = Some(known_at);
        }
        if let Some(known_at) = said {
            self.agreement.say(known_at + 1);
        }
    }
}

impl Recorder {
    /// As [`Self::next_quantum`]. `None` as well if another process is lost, or a worker of this one: what is held was not told, and never is.
    pub(super) fn next_in_step(&mut self) -> anyhow::Result<Option<Entered>> {
        loop {
            let (collector, Some(writing)) = (&mut self.collector, &mut self.writing) else { return Ok(None) };
            let (agreed, is_over) = writing.agree();
            // Whoever asks again has kept what was given out before.
            collector.note_kept(agreed.as_ref().or(writing.held.front()).map(|held| held.quantum.known_at));
            if agreed.is_some() || is_over {
                return Ok(agreed);
            }
            let next = if writing.held.len() < HELD_MAX { collector.next(Some(writing.look())) } else { Next::Nothing };
            match next {
                Next::Bundle(bundle) => {
                    if let Some(entered) = self.take(*bundle)? {
                        return Ok(Some(entered));
                    }
                    continue;
                }
                Next::Nothing if writing.held.len() < HELD_MAX => writing.step_before(collector.complete_to())?,
                Next::Nothing => {
                    collector.take_in();
                    std::thread::sleep(LOOK);
                }
                Next::End if collector.complete_to() < u64::MAX => return Ok(None),
                Next::End if writing.end()? => return Ok(None),
                Next::End => std::thread::sleep(LOOK),
            }
            writing.bear_with_them()?;
        }
    }
}

impl Writing {
    /// Tells the others how far this process is. Answers with what may go on, and whether nothing will any more.
    fn agree(&mut self) -> (Option<Entered>, bool) {
        let Some(in_step) = &mut self.in_step else { return (None, true) };
        in_step.say(self.sync.durable());
        let durable_to = in_step.agreement.durable_to();
        if self.held.front().is_some_and(|first| first.quantum.known_at < durable_to) {
            return (self.let_go(), false);
        }
        (None, in_step.agreement.is_over())
    }

    fn look(&self) -> Duration {
        let is_idle = self.held.is_empty() && self.in_step.as_ref().is_some_and(|in_step| in_step.under_way.is_empty());
        if is_idle { IDLE_LOOK } else { LOOK }
    }

    /// Nothing has entered here before this: the others needn't wait.
    fn step_before(&mut self, complete_to: u64) -> anyhow::Result<()> {
        match &self.in_step {
            Some(in_step) if in_step.under_way.is_empty() && in_step.last + 1 < complete_to => self.step(complete_to - 1),
            _ => Ok(()),
        }
    }

    fn step(&mut self, known_at: u64) -> anyhow::Result<()> {
        self.append(&mut Bundle { known_at, ..Bundle::default() }, || ()).map(drop)
    }

    /// The input has ended. True: everything is durable everywhere that this process had, and has gone on.
    fn end(&mut self) -> anyhow::Result<bool> {
        let Some(in_step) = &mut self.in_step else { return Ok(true) };
        if !std::mem::replace(&mut in_step.has_ended, true) {
            in_step.agreement.end(in_step.last);
            self.sync.hurry();
        }
        let Some(end) = in_step.agreement.end_of_all() else { return Ok(false) };
        if in_step.last < end {
            self.step(end)?;
            self.sync.hurry();
            return Ok(false);
        }
        if in_step.under_way.is_empty() {
            in_step.agreement.finish();
            return Ok(self.held.is_empty());
        }
        Ok(false)
    }

    /// What is held waits for the disk of this process, or for those of the others.
    fn bear_with_them(&mut self) -> anyhow::Result<()> {
        let (Some(in_step), first) = (&mut self.in_step, self.held.front()) else { return Ok(()) };
        let Some(Entered { quantum, seq, .. }) = first else {
            in_step.waiting = None;
            return Ok(());
        };
        let (known_at, seq) = (quantum.known_at, *seq);
        let waiting = in_step.waiting.get_or_insert((known_at, Instant::now(), 0));
        if waiting.0 != known_at {
            *waiting = (known_at, Instant::now(), 0);
        }
        let (_, since, tries) = waiting;
        if since.elapsed() < PATIENCE * (*tries + 1) {
            return Ok(());
        }
        *tries += 1;
        let tries = *tries;
        if self.sync.durable() < seq {
            return self.bear_with_it(tries);
        }
        if tries >= OTHERS_TRIES && tries.is_power_of_two() {
            let waiting_s = u64::from(tries) * PATIENCE.as_secs();
            tracing::warn!(known_at, waiting_s, "what is durable here waits until it is so in the other processes, too");
        }
        Ok(())
    }
}
