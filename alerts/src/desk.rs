//! The desk: one thread in which policy and outbox meet, and from which channels are sent out.
//!
//! Each round takes in what came (alerts, answers of receivers, a person's orders, another setup), lets the policy decide, keeps all of it in one transaction, and only then
//! answers and sends. So what [`Desk::tell`] has returned from is on disk, and nothing is sent that isn't. If the disk refuses, the round is done again from
//! what the file says, once a second, until it takes it: nothing is acknowledged meanwhile, and whoever calls waits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::alert::Alert;
use crate::channels::{Channel, Outcome, Verdict};
use crate::notice::Notice;
use crate::outbox::{Attempt, Limits, Line, Order, Outbox, OutboxError};
use crate::policy::{AckTarget, Policy, PolicyConfig, Silence, StateKey};

/// Orders of other processes are looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many inputs wait; then callers do.
const INBOX_MAX: usize = 1_024;
/// So many inputs are taken in one round.
const ROUND_MAX: usize = 4_096;
/// The pause before a refused round is done again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// UTC ms. Passed in, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a desk works with. Channels and policy can be changed while it runs.
pub struct Setup {
    /// The ways to receivers, each with a text that changes with the receiver's address.
    pub channels: Vec<(Arc<dyn Channel>, String)>,
    /// Who is told what and when.
    pub policy: PolicyConfig,
}

/// Where the desk reports to. None of them may block.
pub struct Reports {
    /// Of every attempt.
    pub attempt: Box<dyn Fn(Attempt) + Send>,
    /// Of what a person should know: a refused order, a disk that is full, alerts that were dropped.
    pub problem: Box<dyn Fn(String) + Send>,
}

/// Why a desk can't be set up.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DeskError {
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error("{0}")]
    Policy(String),
    #[error("start the desk's thread: {0}")]
    Thread(std::io::Error),
}

enum Input {
    Alerts(Vec<Alert>, SyncSender<()>),
    Finished { channel: String, seq: i64, outcome: Outcome },
    Setup(Setup, SyncSender<Result<(), String>>),
    Finish { until: Instant },
}

/// A handle to the desk's thread.
pub struct Desk {
    inbox: SyncSender<Input>,
    thread: JoinHandle<usize>,
}

impl Desk {
    /// Opens the outbox and goes on where the last process stopped. Channels are sent on `runtime`.
    ///
    /// # Errors
    /// If the outbox can't be opened or the policy is wrong.
    pub fn start(
        path: PathBuf,
        setup: Setup,
        limits: Limits,
        clock: Clock,
        runtime: Handle,
        reports: Reports,
    ) -> Result<Self, DeskError> {
        let (inbox, input) = sync_channel(INBOX_MAX);
        let mut work = Work {
            outbox: Outbox::open(&path, lines(&setup.channels), limits)?,
            policy: Policy::new(PolicyConfig::default()).map_err(|e| DeskError::Policy(e.to_string()))?,
            channels: setup.channels.iter().map(|(channel, _)| (channel.name().to_owned(), Arc::clone(channel))).collect(),
            setup,
            path,
            clock,
            runtime,
            reports,
            back: inbox.clone(),
            under_way: 0,
            seen: -1,
            looked: None,
            is_stale: false,
            dropped: 0,
        };
        work.policy = work.restored()?;
        let thread =
            std::thread::Builder::new().name("alert desk".into()).spawn(move || work.run(&input)).map_err(DeskError::Thread)?;
        Ok(Self { inbox, thread })
    }

    /// Takes alerts, and returns once they, and what was decided of them, are on disk. False: the desk is gone.
    pub fn tell(&self, alerts: Vec<Alert>) -> bool {
        let (done, wait) = sync_channel(1);
        self.inbox.send(Input::Alerts(alerts, done)).is_ok() && wait.recv().is_ok()
    }

    /// Works with another setup from now on.
    ///
    /// # Errors
    /// What is wrong with it; the old one stays.
    pub fn set_up(&self, setup: Setup) -> Result<(), String> {
        let (done, wait) = sync_channel(1);
        let gone = || "the alert desk's thread is gone".to_owned();
        self.inbox.send(Input::Setup(setup, done)).map_err(|_| gone())?;
        wait.recv().map_err(|_| gone())?
    }

    /// Sends what can be sent, at most for `within`. What is left stays in the outbox, for the next start; returns how much that is.
    pub fn finish(self, within: Duration) -> usize {
        let _ = self.inbox.send(Input::Finish { until: Instant::now() + within }); // a desk that is gone has finished
        drop(self.inbox);
        self.thread.join().unwrap_or(0)
    }
}

fn lines(channels: &[(Arc<dyn Channel>, String)]) -> Vec<Line> {
    let line = |(channel, fingerprint): &(Arc<dyn Channel>, String)| Line {
        name: channel.name().to_owned(),
        kind: channel.kind(),
        pace: channel.pace(),
        fingerprint: fingerprint.clone(),
    };
    channels.iter().map(line).collect()
}

/// What the thread has.
struct Work {
    outbox: Outbox,
    policy: Policy,
    channels: BTreeMap<String, Arc<dyn Channel>>,
    setup: Setup,
    path: PathBuf,
    clock: Clock,
    runtime: Handle,
    reports: Reports,
    /// Where channels answer.
    back: SyncSender<Input>,
    under_way: usize,
    /// The file as it was when orders were last looked for.
    seen: i64,
    looked: Option<Instant>,
    /// The policy has decided what is on no disk: it must be read again before anything else is done.
    is_stale: bool,
    dropped: u64,
}

/// What a round leads to, once it is on disk.
#[derive(Default)]
struct Round {
    attempts: Vec<Attempt>,
    problems: Vec<String>,
    out: Vec<crate::outbox::Dispatch>,
}

impl Work {
    fn run(mut self, input: &Receiver<Input>) -> usize {
        let mut waiting: Vec<Input> = Vec::new();
        let mut until: Option<Instant> = None;
        loop {
            if waiting.is_empty() {
                let pause = self.pause(until);
                match input.recv_timeout(pause) {
                    Ok(first) => waiting.push(first),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return 0, // not before `Finish`: the desk keeps a sender itself
                }
                waiting.extend(std::iter::from_fn(|| input.try_recv().ok()).take(ROUND_MAX));
            }
            let now = (self.clock)();
            match self.round(&waiting, now) {
                Ok(round) => {
                    until = until.or(self.conclude(std::mem::take(&mut waiting), round));
                }
                Err(e) => {
                    (self.reports.problem)(format!("{e}; nothing is sent or acknowledged until it works again"));
                    std::thread::sleep(AGAIN_AFTER);
                }
            }
            if let Some(until) = until {
                let left = self.outbox.waiting().unwrap_or(0);
                if (left == 0 && self.under_way == 0) || Instant::now() >= until {
                    return left;
                }
            }
        }
    }

    /// Until something is due.
    fn pause(&self, until: Option<Instant>) -> Duration {
        let now = (self.clock)();
        let due = [self.policy.next_due(), self.outbox.next_due(now).unwrap_or(Some(now))].into_iter().flatten().min();
        let due = due.map(|due| Duration::from_millis(u64::try_from(due.saturating_sub(now)).unwrap_or(0)));
        let end = until.map(|until| until.saturating_duration_since(Instant::now()));
        [Some(LOOK_EVERY), due, end].into_iter().flatten().min().unwrap_or(LOOK_EVERY)
    }

    /// One transaction. On an error nothing of it counts.
    fn round(&mut self, input: &[Input], now: i64) -> Result<Round, OutboxError> {
        let mut round = Round::default();
        if self.is_stale {
            self.reopen()?;
        }
        let orders = self.look_for_orders()?;
        if input.is_empty() && !orders && self.policy.next_due().is_none_or(|due| due > now) {
            let is_due = self.outbox.next_due(now)?.is_some_and(|due| due <= now);
            if !is_due {
                return Ok(round);
            }
        }
        self.outbox.begin()?;
        let done = self.work(input, orders, now, &mut round).and_then(|()| self.outbox.commit());
        if let Err(e) = done {
            self.outbox.roll_back();
            self.is_stale = true;
            return Err(e);
        }
        Ok(round)
    }

    fn work(&mut self, input: &[Input], orders: bool, now: i64, round: &mut Round) -> Result<(), OutboxError> {
        let mut notices: Vec<Notice> = Vec::new();
        for input in input {
            match input {
                Input::Alerts(alerts, _) => notices.extend(self.policy.push_all(alerts.iter().cloned(), now)),
                Input::Finished { channel, seq, outcome } => {
                    round.attempts.extend(self.outbox.finish(channel, *seq, outcome, now)?);
                }
                Input::Setup(..) | Input::Finish { .. } => {}
            }
        }
        if orders {
            for order in self.outbox.take_orders()? {
                match order.map_err(|e| e.to_string()).and_then(|order| self.obey(order, now)) {
                    Ok(more) => notices.extend(more),
                    Err(problem) => round.problems.push(problem),
                }
            }
        }
        notices.extend(self.policy.due(now));
        self.outbox.decide(&notices)?;
        let changes = self.policy.take_changes();
        self.outbox.keep_policy(changes.into_iter().map(|(key, body)| (key.as_str().to_owned(), body)))?;
        round.out = self.outbox.take(now)?;
        self.outbox.clean(now)?;
        let dropped = self.policy.counters().dropped;
        if dropped > self.dropped {
            let why = self.policy.last_dropped().map(|dropped| dropped.reason).unwrap_or_default();
            round.problems.push(format!("{} alerts were dropped: {why}", dropped - self.dropped));
            self.dropped = dropped;
        }
        Ok(())
    }

    /// What follows from a round that is on disk. `Finish` says until when the rest may take.
    fn conclude(&mut self, input: Vec<Input>, round: Round) -> Option<Instant> {
        for dispatch in round.out {
            self.send(dispatch);
        }
        let mut finish = None;
        for input in input {
            match input {
                Input::Alerts(_, done) => drop(done.send(())), // who asked may have gone
                Input::Finished { .. } => self.under_way = self.under_way.saturating_sub(1),
                Input::Setup(setup, done) => drop(done.send(self.change(setup))),
                Input::Finish { until } => finish = Some(until),
            }
        }
        round.attempts.into_iter().for_each(&self.reports.attempt);
        round.problems.into_iter().for_each(&self.reports.problem);
        finish
    }

    fn send(&mut self, dispatch: crate::outbox::Dispatch) {
        let name = dispatch.notice.channel.clone();
        let channel = self.channels.get(&name).map(Arc::clone);
        let (back, now, seq) = (self.back.clone(), (self.clock)(), dispatch.seq);
        self.under_way += 1;
        let answer = self.runtime.spawn(async move {
            match channel {
                Some(channel) => channel.send(&dispatch.notice, now).await,
                None => no_answer("there is no such channel any more"),
            }
        });
        self.runtime.spawn(async move {
            let outcome = answer.await.unwrap_or_else(|_| no_answer("the channel's code panicked; please report it"));
            let finished = Input::Finished { channel: name, seq, outcome };
            let _ = tokio::task::spawn_blocking(move || back.send(finished)).await; // a desk that is gone sends it again at its next start
        });
    }

    /// Another setup, or on any error the one before.
    fn change(&mut self, setup: Setup) -> Result<(), String> {
        let notices = self.policy.configure(setup.policy.clone(), (self.clock)()).map_err(|e| e.to_string())?;
        let before = std::mem::replace(&mut self.setup, setup);
        let kept = self.outbox.set_lines(lines(&self.setup.channels)).and_then(|()| {
            self.outbox.begin()?;
            self.outbox.decide(&notices)?;
            let changes = self.policy.take_changes();
            self.outbox.keep_policy(changes.into_iter().map(|(key, body)| (key.as_str().to_owned(), body)))?;
            self.outbox.commit()
        });
        if let Err(e) = kept {
            self.outbox.roll_back();
            self.setup = before;
            let _ = self.outbox.set_lines(lines(&self.setup.channels)); // the first error is the one to tell
            self.is_stale = true;
            return Err(e.to_string());
        }
        let channels = &self.setup.channels;
        self.channels = channels.iter().map(|(channel, _)| (channel.name().to_owned(), Arc::clone(channel))).collect();
        Ok(())
    }

    fn look_for_orders(&mut self) -> Result<bool, OutboxError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(false);
        }
        self.looked = Some(Instant::now());
        let version = self.outbox.data_version()?;
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }

    fn obey(&mut self, order: Order, now: i64) -> Result<Vec<Notice>, String> {
        let nothing_to = |what: &str, id: &str| format!("{what} {id}: no alert that fires has that id");
        match order {
            Order::Silence { silence } => {
                let silence: Silence = serde_json::from_value(silence).map_err(|e| format!("read a silence: {e}"))?;
                self.policy.silence(silence, now).map_err(|e| e.to_string())
            }
            Order::Unsilence { id } => {
                self.policy.unsilence(&id, now).ok_or_else(|| format!("end the silence {id}: there is none of that id"))
            }
            Order::Ack { id, by, for_ms } => {
                let until = for_ms.map(|length| now.saturating_add(length));
                let (ids, notices) = self.policy.ack(&AckTarget::Alert(id.clone()), &by, until, now);
                if ids.is_empty() { Err(nothing_to("acknowledge", &id)) } else { Ok(notices) }
            }
            Order::Unack { id } => {
                let (ids, notices) = self.policy.unack(&AckTarget::Alert(id.clone()), now);
                if ids.is_empty() { Err(nothing_to("take back the acknowledgement of", &id)) } else { Ok(notices) }
            }
            Order::Replay { ids, channel, since_ms } => {
                self.outbox.replay(&ids, channel.as_deref(), since_ms, now).map(|_| Vec::new()).map_err(|e| e.to_string())
            }
            Order::Enable { channel } => self.outbox.enable(&channel).map(|_| Vec::new()).map_err(|e| e.to_string()),
        }
    }

    fn restored(&self) -> Result<Policy, DeskError> {
        let rows = self.outbox.policy_rows()?.into_iter().map(|(key, body)| (StateKey::new(key), body));
        Policy::restore(self.setup.policy.clone(), rows).map_err(|e| DeskError::Policy(e.to_string()))
    }

    /// Back to what the file says: what was decided in memory only is decided again.
    fn reopen(&mut self) -> Result<(), OutboxError> {
        self.outbox.reconnect(&self.path)?;
        self.policy = self.restored().map_err(|e| match e {
            DeskError::Outbox(e) => e,
            e => OutboxError::Content { what: "policy's state", reason: e.to_string() },
        })?;
        // The orders that were seen were not obeyed; another connection counts changes from another beginning.
        (self.is_stale, self.seen, self.looked) = (false, -1, None);
        Ok(())
    }
}

fn no_answer(reason: &str) -> Outcome {
    Outcome { verdict: Verdict::Failed, http_status: 0, reason: reason.to_owned(), pause: None }
}
